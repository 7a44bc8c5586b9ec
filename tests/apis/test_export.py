"""Exported files give what torch gives, for every token mixer, at several sizes."""

from __future__ import annotations

import re
from math import prod
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mmhyena.__main__ import main
from mmhyena.backbones import HyenaFormer, HyenaViT
from mmhyena.errors import UserError
from mmhyena.layers.kernel_cache import DEFAULT_LIMIT, kernel_cache_bytes, set_kernel_cache_limit

pytest.importorskip('mmpretrain')
for package in ('onnx', 'onnxruntime', 'onnxscript'):
    pytest.importorskip(package)

from mmhyena.apis import export as module  # noqa: E402
from mmhyena.apis.export import MAX_ERROR, ExportTarget, build_for_export, export_model, load_exported  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / 'configs/hyenapixel'
SIZES = [(32, 32), (45, 33), (64, 48)]
ARCHS = ['hpx_former_tiny', 'hb_former_tiny', 'hyena_nd_former_tiny', 'ibit']


class Features(nn.Module):
    """A backbone that returns a tuple."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(image))


def make_target(arch: str) -> ExportTarget:
    torch.manual_seed(0)
    if arch == 'ibit':
        backbone = HyenaViT(
            arch=dict(HyenaViT.arch_settings['ibit_tiny'], embed_dims=24, num_layers=2, num_heads=3), img_size=64
        )
    else:
        settings = dict(HyenaFormer.arch_settings[arch], depths=(1, 1, 1, 1))
        backbone = HyenaFormer(settings)
    return ExportTarget(Features(backbone).eval().requires_grad_(False), 'detection', {'classes': '["a", "b"]'})


def make_small_target() -> ExportTarget:
    """For what does not depend on the model."""
    return ExportTarget(Features(Pair()).eval().requires_grad_(False), 'detection', {'classes': '["a", "b"]'})


class Pair(nn.Module):
    """Two feature maps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        return self.conv(image), image.relu()


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('arch', ARCHS)
@pytest.mark.slow
def test_onnxruntime_equals_torch(arch: str, size: tuple[int, int], tmp_path: Path):
    target = make_target(arch)
    image = torch.randn(3, 3, *size)
    with torch.no_grad():
        expected = target.module(image)  # by the backend that is usual, not that of the export
    result = export_model(target, tmp_path / 'model.onnx', size, dynamic_batch=True)
    assert result.error < MAX_ERROR
    values = load_exported(result.file)(image)
    assert len(values) == len(expected)
    for value, wanted in zip(values, expected):
        assert value.shape == wanted.shape
        assert (value - wanted).norm() < MAX_ERROR * wanted.norm()


@pytest.mark.slow
@pytest.mark.parametrize('size', [(512, 512), (200, 336)], ids=str)
@pytest.mark.parametrize('arch', ['hpx_former_s18', 'hb_former_s18'])
def test_published_backbones(arch: str, size: tuple[int, int], tmp_path: Path, add_row):
    torch.manual_seed(0)
    target = ExportTarget(Features(HyenaFormer(arch)).eval().requires_grad_(False), 'detection', {})
    result = export_model(target, tmp_path / 'model.onnx', size)
    assert result.error < MAX_ERROR
    add_row('Exported: onnxruntime against torch', model=arch, size=size, error=result.error)
    import onnx

    tensors = [list(tensor.dims) for tensor in onnx.load(result.file).graph.initializer]
    sequence = size[0] * size[1] // 16  # pixels of the first stage
    assert max(map(prod, tensors)) < 10 * 64 * sequence  # spectra, and no square of the sequence


@pytest.mark.slow
@pytest.mark.parametrize(
    'config,size',
    [
        ('classification/hpx-former-s18_8xb512_in1k.py', (224, 224)),
        ('classification/hb-former-s18_8xb512_in1k.py', (224, 224)),
        ('segmentation/upernet_hpx-former-s18_4xb4-160k_ade20k-512x512.py', (512, 512)),
        ('segmentation/upernet_hb-former-s18_4xb4-160k_ade20k-512x512.py', (192, 256)),
        ('detection/mask-rcnn_hpx-former-s18_fpn_1x_coco.py', (320, 448)),
    ],
)
def test_published_configs(config: str, size: tuple[int, int], tmp_path: Path, add_row):
    torch.manual_seed(0)
    result = export_model(build_for_export(CONFIGS / config), tmp_path / 'model.onnx', size)
    assert result.error < MAX_ERROR
    add_row('Exported: onnxruntime against torch', model=Path(config).stem, size=size, error=result.error)


def test_program_of_torch_export(tmp_path: Path):
    target = make_target('hpx_former_tiny')
    image = torch.randn(1, 3, 45, 33)
    result = export_model(target, tmp_path / 'model.pt2', image.shape[2:])
    for value, wanted in zip(load_exported(result.file)(image), target.module(image)):
        assert (value - wanted).norm() < MAX_ERROR * wanted.norm()


def test_a_wrong_file_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    right = module.load_exported
    monkeypatch.setattr(
        module, 'load_exported', lambda file: lambda image: [1.001 * value for value in right(file)(image)]
    )
    (tmp_path / 'model.pt2').write_text('of an earlier export')
    with pytest.raises(UserError, match=r'differ from torch by a relative error of 1\.0e-03'):
        export_model(make_small_target(), tmp_path / 'model.pt2', (32, 32))
    assert [file.read_text() for file in tmp_path.iterdir()] == ['of an earlier export']


def test_files_of_more_than_two_gib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, 'MAX_ONNX_BYTES', 64)
    with pytest.raises(UserError, match=r'an ONNX file holds at most 2: export a smaller image, or name .* \.pt2'):
        export_model(make_small_target(), tmp_path / 'model.onnx', (32, 32))
    assert not list(tmp_path.iterdir())


def test_kernels_beyond_the_cache_are_constants_all_the_same(tmp_path: Path):
    before = kernel_cache_bytes()
    set_kernel_cache_limit(0)
    try:
        result = export_model(make_target('hpx_former_tiny'), tmp_path / 'model.pt2', (45, 33))
    finally:
        set_kernel_cache_limit(DEFAULT_LIMIT)
    assert kernel_cache_bytes() <= before
    names = [str(node.target) for node in torch.export.load(result.file).graph.nodes if node.op == 'call_function']
    assert not [name for name in names if name.split('.')[1:2] in (['sin'], ['cos'], ['exp'])]  # of the filters


@pytest.mark.parametrize('suffix', ['.onnx', '.pt2'])
def test_other_sizes_are_refused(suffix: str, tmp_path: Path):
    result = export_model(make_small_target(), tmp_path / f'model{suffix}', (32, 48), dynamic_batch=True)
    run = load_exported(result.file)
    run(torch.zeros(5, 3, 32, 48))
    with pytest.raises(UserError, match=r'model\.\w+ takes images of 32 x 48, got 48 x 32: export it for that size'):
        run(torch.zeros(5, 3, 48, 32))


def test_a_fixed_batch_is_one_image(tmp_path: Path):
    result = export_model(make_small_target(), tmp_path / 'model.pt2', (32, 32))
    with pytest.raises(UserError, match=r'takes 1 image, got 2: export it with a dynamic batch'):
        load_exported(result.file)(torch.zeros(2, 3, 32, 32))


def test_a_model_that_cannot_be_traced(tmp_path: Path):
    class Branch(nn.Module):
        def forward(self, image: Tensor) -> tuple[Tensor, ...]:
            return (image if image.sum() > 0 else -image,)

    target = ExportTarget(Branch().eval(), 'detection', {})
    with pytest.raises(UserError, match=r'^the model cannot be exported at 8 x 8: '):
        export_model(target, tmp_path / 'model.pt2', (8, 8))
    assert not list(tmp_path.iterdir())


def test_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'needs onnx, which is not installed: pip install .mmhyena\[export\]'):
        export_model(make_target('ibit'), tmp_path / 'model.onnx', (32, 32))


def test_old_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch, '__version__', '2.1.2+cpu')
    with pytest.raises(UserError, match=r'needs torch 2\.6 or newer, found 2\.1\.2\+cpu'):
        export_model(make_target('ibit'), tmp_path / 'model.pt2', (32, 32))


def test_wrong_name_of_the_file(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(['export', 'x.py', '--out', str(tmp_path / 'model.trt'), '--shape', '32', '32']) == 2
    assert 'must end in .onnx or .pt2' in capsys.readouterr().err


@pytest.mark.slow
def test_command(task: str, config, weights, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch):
    import json

    import onnx

    file = tmp_path / 'model.onnx'
    assert main(['export', str(config(task)), str(weights(task)), '--out', str(file), '--shape', '64', '96']) == 0
    told = capsys.readouterr().out
    assert ('The head, which selects boxes, is not in the file' in told) == (task == 'detection')
    metadata = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert len(json.loads(metadata['classes'])) in (5, 6)
    assert len(json.loads(metadata['mean'])) == 3
    assert metadata['layout'] == 'NCHW'
    outputs = load_exported(file)(torch.randn(1, 3, 64, 96))
    if task == 'segmentation':
        assert outputs[0].shape == (1, 6, 64, 96)
    elif task == 'classification':
        assert outputs[0].sum().item() == pytest.approx(1, abs=1e-5)
        run_documented_code(tmp_path, monkeypatch)
        assert capsys.readouterr().out.strip() in json.loads(metadata['classes'])
    else:
        assert len(outputs) == 4


def run_documented_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the Python block of docs/deployment.md where ``model.onnx`` is."""
    (code,) = re.findall(r'```python\n(.*?)```', (ROOT / 'docs/deployment.md').read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    exec(code, dict(pixels=torch.randint(256, (64, 96, 3)).numpy()))
