"""Wrong arguments of the demo and of the other tools: exit code 2 and one line that names what is wrong."""

from __future__ import annotations

import pytest
from bad_inputs import CONFIGS, ROOT, assert_one_line, on
from PIL import Image

from mmhyena.datasets.shapes import CLASSES

pytestmark = pytest.mark.usefixtures('no_loggers')

DEMO: list[tuple[list[str], list[str]]] = [
    (['--top-k', '0'], ['--top-k 0']),
    (['--batch-size', '0'], ['--batch-size 0']),
    (['--max-pixels', '0'], ['--max-pixels 0']),
    (['--opacity', '2'], ['--opacity 2']),
    (['--score-thr', 'nan'], ['--score-thr nan']),
    (['--score-thr', '-1'], ['--score-thr -1']),
    (['--out-dir', '/proc/x'], ['--out-dir /proc/x cannot be written']),
    (['--out-dir', '{file}'], ['--out-dir', 'cannot be written']),
    (['--out-dir', '{images}'], ['would replace an image']),
    (['--device', 'gpu'], ["device 'gpu' is not usable"]),
]


@pytest.mark.parametrize('options, expected', DEMO)
def test_demo_options(options, expected, tools, tmp_path, capsys):
    images = tmp_path / 'images'
    images.mkdir()
    Image.new('RGB', (8, 8)).save(images / 'a.png')
    (tmp_path / 'file').write_text('')
    places = dict(images=images, file=tmp_path / 'file')
    arguments = [str(images), str(ROOT / CONFIGS['cls']), 'none.pth', '--out-dir', str(tmp_path / 'out')]
    code = tools['demo']([*arguments, *(word.format(**places) for word in options)])
    assert_one_line(code, capsys.readouterr().err, *expected)


# Tool, arguments, what the line says. {config} is a classifier's, {weights} its checkpoint, {file} an empty file.
ANALYSIS: list[tuple[str, str, list[str]]] = [
    ('test', '{config} none.pth', ['none.pth does not exist']),
    ('test', '{config} {file}', ['file']),
    ('test', 'none.py {weights}', ['none.py does not exist']),
    ('test', '{config} --cfg-options {data}', ['name a checkpoint']),
    ('test', '{config} {weights} --out x.txt', ['--out x.txt', '.json or .pkl']),
    ('test', '{config} {weights} --out {file}/x.json', ['--out', 'cannot be written']),
    ('test', '{config} {weights} --work-dir {file}', ['--work-dir', 'cannot be written']),
    ('test', '{config} {weights} --show-dir {file} --cfg-options {data}', ['--show-dir', 'cannot be written']),
    ('test', '{config} {weights} --tta --cfg-options {data} tta_model=None', ['--tta needs tta_model']),
    ('test', '{config} {weights} --launcher slurm', ['SLURM_PROCID']),
    ('browse', 'none.py', ['none.py does not exist']),
    ('browse', '{file}', ['is not a config']),
    ('browse', '{config} --num 0', ['--num 0']),
    ('browse', '{config} --out-dir {file}', ['--out-dir', 'cannot be written']),
    ('browse', '{config} --out-dir /proc/x', ['--out-dir /proc/x cannot be written']),
    ('browse', '{config} --out-dir {tmp} --cfg-options train_dataloader.dataset.data_root=nope', ['nope', 'data_root']),
    ('browse', '{config} --out-dir {tmp} --cfg-options val_dataloader=None --split val', ['no val_dataloader']),
    ('browse', '{config} --out-dir {tmp} --cfg-options {data} model=None', ['no model']),
    (
        'browse',
        '{config} --out-dir {tmp} --cfg-options {data} train_dataloader.dataset.pipeline.1.type=Foo',
        ['train_dataloader.dataset.pipeline', 'Foo'],
    ),
    ('flops', 'none.py', ['none.py does not exist']),
    ('flops', '--arch nothing', ["arch 'nothing' is unknown"]),
    ('flops', '--arch hpx_former_tiny --shape 8', ['--shape 8 8 is too small']),
    ('flops', '{config} --count official --backend auto', ['--backend is for what is executed']),
    ('flops', '{wrong}', ['model.backbone.arch', 'nothing']),
    ('flops', '{empty}', ['has no model']),
    ('erf', 'none.py {weights} --images {images}', ['none.py does not exist']),
    ('erf', '{config} none.pth --images {images}', ['none.pth does not exist']),
    ('erf', '{config} {weights} --images nowhere', ['no image at nowhere']),
    ('erf', '{config} {weights} --images {images} --device gpu', ["device 'gpu'"]),
    ('erf', '{config} {weights} --images {images} --out x.txt', ['--out x.txt', '.png']),
    ('erf', '{config} {weights} --images {images} --out {file}/x.png', ['--out', 'cannot be written']),
    ('erf', '{config} {weights} --images {images} --part neck', ['the model has no neck']),
    ('erf', '{config} {weights} --images {images} --level 7', ['level 7']),
    ('kernels', 'none.py {weights}', ['none.py does not exist']),
    ('kernels', '{config} none.pth', ['none.pth does not exist']),
    ('kernels', '{config} {weights} --out x.txt', ['--out x.txt', '.png']),
    ('kernels', '{config} {weights} --out {file}/x.png', ['--out', 'cannot be written']),
    ('reach', 'none.py {weights}', ['none.py does not exist']),
    ('reach', '{config} none.pth', ['none.pth does not exist']),
    ('reach', '{config} {weights} --out x.png', ['--out x.png', '.csv']),
    ('reach', '{config} {weights} --out {file}/x.csv', ['--out', 'cannot be written']),
    ('reach', '{config} {weights} --out {tmp}/x.csv --cfg-options =3', ['key=value']),
    ('resolution', 'none.py {weights}', ['none.py does not exist']),
    ('resolution', '{config} none.pth', ['none.pth does not exist']),
    ('resolution', '{config} {weights} --out x.png', ['--out x.png', '.csv']),
    ('resolution', '{config} {weights} --canvas-data {tmp}/{{factor}}', ['does not exist', '--canvas-data']),
    ('features', 'none.py {weights} {images}', ['none.py does not exist']),
    ('features', '{config} none.pth {images}', ['none.pth does not exist']),
    ('features', '{config} {weights} nowhere', ['no image at nowhere']),
    ('features', '{config} {weights} {images} --out-dir {file}', ['--out-dir', 'cannot be written']),
    ('export', 'none.py --out {tmp}/m.pt2 --shape 64 64', ['none.py does not exist']),
    ('export', '{config} none.pth --out {tmp}/m.pt2 --shape 64 64', ['none.pth does not exist']),
    ('export', '{config} {weights} --out {tmp}/m.trt --shape 64 64', ['.onnx', '.pt2']),
    ('export', '{wrong} --out {tmp}/m.pt2 --shape 64 64', ['model.backbone.arch', 'nothing']),
    ('compare', '--task detection --backbones nothing --out {tmp}/c', ["backbone 'nothing' is unknown"]),
    ('compare', '--task detection --backbones hpx --out {file}', ['--out', 'cannot be written']),
    ('compare', '--task detection --backbones hpx --out {tmp}/c --config none.py', ['none.py does not exist']),
    ('compare', '--task detection --backbones hpx --out {tmp}/c --report', ['no finished runs']),
    ('compare', '--task detection --backbones timm:nothing --out {tmp}/c', ['nothing']),
    ('bench', 'op 4x8x8 --rounds 0', ['--rounds 0: give at least 1']),
    ('bench', 'op 4x8x8 --batch 0', ['--batch 0: give at least 1']),
    ('bench', 'op 4x8x8 --threads 0', ['--threads 0: give at least 1']),
    ('bench', 'op 4x8x8 --device abacus', ['--device abacus is unknown']),
    ('bench', 'op 4x8x8 --out {file}/x.csv', ['--out', 'cannot be written']),
    ('bench', 'op 4y8', ["size '4y8'"]),
    ('bench', 'backbone nothing', ["arch 'nothing' is unknown"]),
    ('bench', 'model none.py', ['none.py does not exist']),
]


@pytest.fixture(scope='module')
def places(shapes, tmp_path_factory) -> dict[str, str]:
    """What stands for the names in braces: a classifier's config and weights, images, an empty file."""
    pytest.importorskip('mmpretrain')
    import torch
    from mmengine.registry import MODELS

    from mmhyena.apis import load_config, use_toolkit

    root = tmp_path_factory.mktemp('places')
    config = ROOT / CONFIGS['cls']
    cfg = load_config(config)
    use_toolkit(cfg)
    meta = dict(dataset_meta=dict(classes=tuple(sorted(CLASSES))))
    torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict(), meta=meta), root / 'weights.pth')
    (root / 'file').touch()
    (root / 'wrong.py').write_text(f"_base_ = {str(config)!r}\nmodel = dict(backbone=dict(arch='nothing'))\n")
    (root / 'empty.py').write_text("default_scope = 'mmpretrain'\n")
    return dict(
        config=str(config),
        weights=f'{root}/weights.pth',
        file=f'{root}/file',
        wrong=f'{root}/wrong.py',
        empty=f'{root}/empty.py',
        images=f'{shapes}/val',
        data=' '.join(on(shapes, 'cls')),
    )


@pytest.mark.parametrize('tool, words, expected', ANALYSIS, ids=[f'{tool}-{words}' for tool, words, _ in ANALYSIS])
def test_other_tools(tool, words, expected, tools, places, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = tools[tool](words.format(**places, tmp=tmp_path).split())
    assert_one_line(code, capsys.readouterr().err, *expected)


def test_number_of_rows():
    assert len(DEMO) + len(ANALYSIS) >= 60
