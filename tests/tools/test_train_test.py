"""The command-line tools on a few generated images: train, validate, resume, test, for each of the three tasks."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from mmhyena.datasets.shapes import generate_shapes

ROOT = Path(__file__).parents[2]
CONFIGS = {
    'mmdet': 'shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py',
    'mmseg': 'shapes/upernet_hpx-former-tiny_shapes.py',
    'mmpretrain': 'shapes/hpx-former-tiny_shapes.py',
}
METRIC = {'mmdet': 'coco/segm_mAP', 'mmseg': 'mIoU', 'mmpretrain': 'accuracy/top1'}
# Two iterations, one validation, one checkpoint.
SHORT = {
    'mmdet': [
        'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1',
        'param_scheduler=None',
    ],
    'mmpretrain': ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'param_scheduler=None'],
    'mmseg': [
        'train_cfg.max_iters=2',
        'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=2',
        'param_scheduler=None',
    ],
}
MORE = {'mmdet': 'train_cfg.max_epochs=2', 'mmpretrain': 'train_cfg.max_epochs=2', 'mmseg': 'train_cfg.max_iters=4'}


def load_tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def train():
    return load_tool('train').main


@pytest.fixture(scope='module')
def test():
    return load_tool('test').main


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'shapes'
    generate_shapes(root, train=4, val=3, size=64, cls_train=4, cls_val=3, cls_size=64, seed=0)
    return root


def on(shapes: Path, scope: str) -> list[str]:
    """Return overrides that point a Shapes config to ``shapes``, two images a batch, no worker processes."""
    root = f'{shapes}/classification' if scope == 'mmpretrain' else f'{shapes}/'
    options = []
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        options += [f'{loader}.batch_size=2', f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
        options.append(f'{loader}.dataset.data_root={root}')
    if scope == 'mmdet':
        options += [f'{split}_evaluator.ann_file={root}annotations/instances_val.json' for split in ('val', 'test')]
    return options


def last_checkpoint(work_dir: Path) -> Path:
    return Path((work_dir / 'last_checkpoint').read_text())


def logged(work_dir: Path, key: str) -> list[float]:
    """Return what was logged under ``key`` by all runs in ``work_dir``, in order."""
    lines = [
        json.loads(line)
        for file in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in file.read_text().splitlines()
    ]
    return [line[key] for line in lines if key in line]


@pytest.fixture(scope='module', params=list(CONFIGS))
def trained(request, shapes, train, tmp_path_factory) -> tuple[str, str, Path, list[str]]:
    """Train two iterations; return scope, config, work dir and overrides."""
    scope = request.param
    if importlib.util.find_spec(scope) is None:
        pytest.skip(f'{scope} is not installed')
    config = str(ROOT / 'configs' / CONFIGS[scope])
    work_dir = tmp_path_factory.mktemp(scope)
    options = on(shapes, scope)
    assert train([config, '--work-dir', str(work_dir), '--cfg-options', *options, *SHORT[scope]]) == 0
    return scope, config, work_dir, options


def test_train_writes_checkpoint_and_validates(trained):
    scope, _, work_dir, _ = trained
    checkpoint = torch.load(last_checkpoint(work_dir), weights_only=False)
    assert checkpoint['meta']['iter'] == 2
    assert len(logged(work_dir, METRIC[scope])) == 1


@pytest.mark.slow
def test_bfloat16_gives_the_metrics_of_float32(trained, test, tmp_path):
    scope, config, work_dir, options = trained
    out, checkpoint = tmp_path / 'metrics.json', str(last_checkpoint(work_dir))
    common = [config, checkpoint, '--work-dir', str(tmp_path), '--out', str(out)]
    metrics = []
    for amp in ([], ['--amp']):
        assert test([*common, *amp, '--cfg-options', *options]) == 0
        metrics.append(json.loads(out.read_text())[METRIC[scope]])
    # Accuracy is in percent and of three images; the others are of many pixels and boxes.
    assert metrics[1] == pytest.approx(metrics[0], abs={'mmdet': 0.02, 'mmseg': 2, 'mmpretrain': 34}[scope])
    log = ''.join(file.read_text() for file in tmp_path.glob('*/*.log'))
    assert log.count('bfloat16: ') == 1


def images_of(scope: str, shapes: Path) -> dict[str, Path]:
    """Return the test images by their paths, without suffix, below the folder of all."""
    folders = {'mmdet': 'val', 'mmseg': 'images/validation', 'mmpretrain': 'classification/val'}
    folder = shapes / folders[scope]
    return {str(path.relative_to(folder).with_suffix('')): path for path in folder.rglob('*.*')}


def check_pictures(folder: Path, images: dict[str, Path], predicts: bool) -> None:
    """Check that each image has a picture at its relative path, and that something is drawn on it.

    The ground truth, where it is known, is on the left; a model that ``predicts`` nothing leaves the right as it is.
    """
    pictures = {str(path.relative_to(folder).with_suffix('')): path for path in folder.rglob('*.*')}
    assert set(pictures) == set(images)
    for name, file in pictures.items():
        picture, image = (np.asarray(Image.open(path).convert('RGB'), int) for path in (file, images[name]))
        width = image.shape[1]
        assert picture.shape[0] == image.shape[0]
        assert picture.shape[1] in (width, 2 * width)
        panel = picture[:, :width] if picture.shape[1] > width and not predicts else picture[:, -width:]
        assert (np.abs(panel - image).max(2) > 30).mean() > 0.01


def test_test_reports_what_validation_reported(trained, test, shapes, tmp_path):
    scope, config, work_dir, options = trained
    out, predictions = tmp_path / 'metrics.json', tmp_path / 'predictions.pkl'
    checkpoint = str(last_checkpoint(work_dir))
    common = [config, checkpoint, '--work-dir', str(tmp_path), '--cfg-options', *options]
    assert test([*common[:2], '--out', str(out), '--show-dir', str(tmp_path / 'show'), *common[2:]]) == 0
    validated = logged(work_dir, METRIC[scope])[0]
    assert json.loads(out.read_text())[METRIC[scope]] == pytest.approx(validated, abs=1e-6)
    check_pictures(tmp_path / 'show', images_of(scope, shapes), predicts=scope != 'mmdet')  # no object in two steps

    assert test([*common[:2], '--out', str(predictions), *common[2:]]) == 0
    assert len(pickle.loads(predictions.read_bytes())) == 3


def test_tta_runs_on_every_task(trained, test, tmp_path):
    scope, config, work_dir, options = trained
    out = tmp_path / 'metrics.json'
    checkpoint = str(last_checkpoint(work_dir))
    arguments = [config, checkpoint, '--tta', '--out', str(out), '--work-dir', str(tmp_path)]
    assert test([*arguments, '--cfg-options', *options]) == 0
    assert METRIC[scope] in json.loads(out.read_text())


def test_resume_goes_on(trained, train):
    scope, config, work_dir, options = trained
    arguments = [config, '--work-dir', str(work_dir), '--resume', '--cfg-options', *options, *SHORT[scope]]
    assert train([*arguments, MORE[scope]]) == 0
    checkpoint = torch.load(last_checkpoint(work_dir), weights_only=False)
    assert checkpoint['meta']['iter'] == 4
    # AdamW counts its steps: they go on rather than start again.
    steps = {int(state['step']) for state in checkpoint['optimizer']['state'].values()}
    assert steps == {4}


def test_checkpoint_of_another_model_is_refused(trained, test, train, tmp_path, capsys):
    _, config, work_dir, options = trained
    checkpoint = torch.load(last_checkpoint(work_dir), weights_only=False)
    keys = list(checkpoint['state_dict'])
    checkpoint['state_dict'][f'{keys[0]}_old'] = checkpoint['state_dict'].pop(keys[0])
    checkpoint['state_dict'][keys[1]] = torch.zeros(1, 2, 3)
    wrong = tmp_path / 'wrong.pth'
    torch.save(checkpoint, wrong)
    common = ['--work-dir', str(tmp_path), '--cfg-options', *options]
    for tool, arguments in ((test, [config, str(wrong)]), (train, [config, '--resume', str(wrong)])):
        assert tool([*arguments, *common]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert f'1 missing ({keys[0]})' in error
        assert f'1 unexpected ({keys[0]}_old)' in error
        assert f'1 of another shape ({keys[1]})' in error


def test_amp_trains_in_bfloat16_on_a_cpu(shapes, tmp_path):
    from mmhyena.apis import train

    runner = train(
        ROOT / 'configs' / CONFIGS['mmdet'],
        work_dir=str(tmp_path),
        amp=True,
        cfg_options={
            'train_dataloader.dataset.data_root': f'{shapes}/',
            'train_dataloader.batch_size': 2,
            'train_dataloader.num_workers': 0,
            'train_dataloader.persistent_workers': False,
            'train_cfg.max_epochs': 1,
            'param_scheduler': None,
            'val_cfg': None,
            'val_dataloader': None,
            'val_evaluator': None,
        },
    )
    expected = 'AmpOptimWrapper' if torch.cuda.is_available() else 'CPUAmpOptimWrapper'
    assert type(runner.optim_wrapper).__name__ == expected
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 2
    assert torch.isfinite(torch.as_tensor(losses)).all()


def error_of(code: int, capsys) -> str:
    """Check that a tool failed with one line, and return it."""
    error = capsys.readouterr().err.strip()
    assert code == 2
    assert error.startswith('error: ')
    assert '\n' not in error
    return error


@pytest.mark.parametrize(
    ('arguments', 'culprits'),
    [
        (['nothing.py'], ['nothing.py', 'does not exist']),
        (['{config}x'], ['did you mean', 'mask-rcnn_hpx-former-tiny_fpn_shapes.py']),
        (['{config}', '--cfg-options', 'train_cfg'], ['train_cfg', 'key=value']),
        (['{config}', '--cfg-options', 'trian_cfg.max_epochs=1'], ['trian_cfg', "did you mean 'train_cfg'"]),
        (['{config}', '--cfg-options', 'default_scope=mmpose'], ['mmpose', 'mmdet']),
        (['{config}', '--resume', 'x.pth', '--cfg-options', '{data}'], ['x.pth', 'does not exist']),
        (
            ['{config}', '--auto-scale-lr', '--cfg-options', 'auto_scale_lr.base_batch_size=None'],
            ['--auto-scale-lr', 'base_batch_size'],
        ),
        (
            ['{config}', '--amp', '--cfg-options', 'optim_wrapper.type=ApexOptimWrapper'],
            ['--amp', 'ApexOptimWrapper'],
        ),
        (
            ['{config}', '--cfg-options', 'train_dataloader.dataset.data_root=no/shapes'],
            ['no/shapes', 'tools/dataset_converters/shapes.py --out no/shapes'],
        ),
    ],
)
def test_train_errors_are_one_line(arguments, culprits, train, shapes, tmp_path, capsys):
    places = dict(config=ROOT / 'configs' / CONFIGS['mmdet'], work_dir=tmp_path, data='DATA')
    words = []
    for argument in arguments:
        argument = argument.format(**places)
        words += on(shapes, 'mmdet') if argument == 'DATA' else [argument]
    if '--cfg-options' not in words:
        words += ['--cfg-options', *on(shapes, 'mmdet')]
    error = error_of(train([words[0], '--work-dir', str(tmp_path), *words[1:]]), capsys)
    for culprit in culprits:
        assert culprit.format(**places) in error


def test_broken_config_is_one_line(train, tmp_path, capsys):
    broken = tmp_path / 'broken.py'
    broken.write_text('model = dict(')
    assert 'broken.py' in error_of(train([str(broken)]), capsys)
    broken.write_text("_base_ = './missing.py'")
    assert 'missing.py' in error_of(train([str(broken)]), capsys)
    broken.write_text('model = dict()')
    assert 'default_scope' in error_of(train([str(broken)]), capsys)


def test_missing_toolkit_names_the_extra(train, monkeypatch, capsys):
    import mmhyena.apis.toolkits as toolkits

    monkeypatch.setattr(toolkits.Toolkit, 'installed', False)
    error = error_of(train([str(ROOT / 'configs' / CONFIGS['mmseg'])]), capsys)
    assert "pip install 'mmhyena[onedl]'" in error
    assert 'mmseg' in error


def test_old_engine_cannot_resume_on_new_torch(train, shapes, monkeypatch, tmp_path, capsys):
    import mmhyena.apis.resume as resume

    monkeypatch.setattr(resume.mmengine, '__version__', '0.10.7')
    monkeypatch.setattr(resume.torch, '__version__', '2.6.0')
    config = str(ROOT / 'configs' / CONFIGS['mmdet'])
    code = train([config, '--resume', '--work-dir', str(tmp_path), '--cfg-options', *on(shapes, 'mmdet')])
    assert 'mmengine 0.10.7 cannot resume with torch 2.6.0' in error_of(code, capsys)


def test_test_errors_are_one_line(test, shapes, tmp_path, capsys):
    config = str(ROOT / 'configs' / CONFIGS['mmdet'])
    assert 'none.pth does not exist' in error_of(test([config, 'none.pth']), capsys)
    text = tmp_path / 'text.pth'
    text.write_text('no weights')
    assert 'text.pth cannot be read' in error_of(test([config, str(text)]), capsys)
    assert '--out result.txt' in error_of(test([config, str(text), '--out', 'result.txt']), capsys)
    weights = tmp_path / 'weights.pth'
    torch.save(dict(state_dict={}), weights)
    options = ['--cfg-options', *on(shapes, 'mmdet')]
    error = error_of(test([config, str(weights), '--tta', *options, 'tta_model=None']), capsys)
    assert 'tta_model' in error
    show_dir = ['--show-dir', str(text)]
    assert '--show-dir' in error_of(test([config, str(weights), *show_dir, *options]), capsys)
    # A hook of None is none.
    assert 'weights.pth' in error_of(test([config, str(weights), *options, 'default_hooks.visualization=None']), capsys)


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_as_a_program(tool, tmp_path):
    command = [sys.executable, str(ROOT / 'tools' / f'{tool}.py'), 'nothing.py', *(['x.pth'] if tool == 'test' else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert 'does not exist' in done.stderr.strip().splitlines()[-1]
