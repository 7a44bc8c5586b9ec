"""The baseline computes what we compute, and the tool shows no speed if it does not."""

import csv
import sys
from pathlib import Path

import pytest
import torch
from mmengine.utils import digit_version

from benchmarks import compare as tool
from benchmarks import official_formula as formula
from benchmarks.harness import Timing, saved_bytes, time_pairs
from mmhyena.backbones import HyenaFormer
from mmhyena.ops import naive_long_conv

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize('causal', [False, True])
@pytest.mark.parametrize('spatial,kernel', [((7, 5), (13, 9)), ((6, 9), (5, 4)), ((8,), (15,)), ((4, 4), (21, 21))])
def test_formula_equals_definition(spatial, kernel, causal):
    u, k, skip = torch.randn(2, 3, *spatial), torch.randn(3, *kernel), torch.randn(3)
    got = formula.formula_long_conv(u, k, skip, causal)
    torch.testing.assert_close(got, naive_long_conv(u, k, skip, causal=causal), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('mixer', ['hpx_former_tiny', 'hb_former_tiny', 'hpx_a_former_s18', 'c_hpx_former_s18'])
def test_backbone_equals_ours_with_every_gradient(mixer):
    torch.manual_seed(0)
    settings = dict(HyenaFormer.arch_settings[mixer], depths=(1, 1, 1, 1), channels=(32, 32, 32, 32))
    ours = HyenaFormer(arch=settings).double()
    plain, x = formula.as_official_formula(ours), torch.randn(1, 3, 64, 96, dtype=torch.float64)
    assert {id(p) for p in ours.parameters()}.isdisjoint(id(p) for p in plain.parameters())
    grads = []
    for model in (ours, plain):
        outs = model(x)
        sum(out.square().mean() for out in outs).backward()
        grads.append([*outs, *(p.grad for p in model.parameters())])
    for got, want in zip(*grads, strict=True):
        assert (got - want).norm() <= 1e-6 * want.norm() + 1e-12
    with torch.no_grad():
        for got, want in zip(ours.eval()(x), plain.eval()(x)):
            assert (got - want).norm() <= 1e-9 * want.norm()


@pytest.mark.parametrize('arch,mib', [('hpx_former_s18', 1621), ('hb_former_s18', 1229)])
def test_baseline_keeps_as_much_as_the_official_code(arch, mib):
    """Figures of the official code at 512 x 512, batch 1, gradients of features included."""
    # torch 2.1 keeps 1.2 % more.
    tolerance = 0.01 if digit_version(torch.__version__) >= digit_version('2.4') else 0.015
    plain, x = formula.as_official_formula(HyenaFormer(arch=arch)), torch.randn(1, 3, 512, 512)
    assert saved_bytes(lambda: plain(x)) / 2**20 == pytest.approx(mib, rel=tolerance)


def test_tool_writes_rows_with_machine_and_command(tmp_path, capsys):
    out = tmp_path / 'run.csv'
    assert tool.main(['op', '4x6x5', '4x9x9', '--kernel', '7', '--rounds', '3', '--out', str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row['case'] for row in rows] == ['4x6x5 k7', '4x9x9 k7']
    for row in rows:
        assert float(row['ratio']) > 0 and row['torch'] == torch.__version__ and '--kernel 7' in row['command']
    assert '4x9x9 k7' in capsys.readouterr().out


def test_tool_refuses_a_speed_of_unequal_outputs(monkeypatch, capsys, tmp_path):
    right = formula.formula_long_conv
    monkeypatch.setattr(formula, 'formula_long_conv', lambda *args: right(*args) * 1.01)
    out = tmp_path / 'run.csv'
    assert tool.main(['op', '4x6x5', '--kernel', '7', '--rounds', '1', '--out', str(out)]) == 2
    captured = capsys.readouterr()
    assert 'output 0 of 4x6x5 k7 differs by' in captured.err
    assert 'ratio' not in captured.out and not out.exists()


@pytest.mark.parametrize('config', ['mask-rcnn_hpx-former-tiny_fpn', 'upernet_hpx-former-tiny', 'hpx-former-tiny'])
def test_tool_compares_whole_training_steps(config, tmp_path):
    out = tmp_path / 'run.csv'
    command = ['model', str(ROOT / f'configs/shapes/{config}_shapes.py'), '--size', '96', '--batch', '2']
    assert tool.main([*command, '--mode', 'train', '--rounds', '1', '--out', str(out)]) == 0
    (row,) = csv.DictReader(out.open())
    assert row['mode'] == 'train' and 0 < float(row['error']) < 5e-3


def test_tool_compares_fused_with_elementary_and_official(tmp_path):
    out = tmp_path / 'run.csv'
    command = ['backbone', 'hpx_former_tiny', '--size', '32', '64x48', '--fuse', '--against', 'elementary', 'official']
    assert tool.main([*command, '--rounds', '1', '--out', str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row['against'] for row in rows] == ['elementary', 'official'] * 2
    assert all(row['fused'] == 'True' and 0 < float(row['error']) < 1e-4 for row in rows)


def test_bfloat16_rows_tell_the_error_against_float32(tmp_path):
    out = tmp_path / 'run.csv'
    command = ['backbone', 'hb_former_tiny', '--size', '64', '--batch', '1', '2', '--fuse', '--amp']
    assert tool.main([*command, '--against', 'elementary', '--rounds', '1', '--out', str(out)]) == 0
    rows = list(csv.DictReader(out.open()))
    assert [row['batch'] for row in rows] == ['1', '2']
    assert all(1e-4 < float(row['error_to_float32']) < 0.05 for row in rows)


CHECKOUT = """
import torch
from mmhyena.backbones import HyenaFormer
from mmhyena.checkpoints import convert_official, revert_official

class Model(torch.nn.Module):
    def __init__(self, arch, out_indices):
        super().__init__()
        self.ours = HyenaFormer(arch, out_indices=out_indices)

    def forward(self, x):
        return [FACTOR * out for out in self.ours(x)]

    def load_state_dict(self, state):
        self.ours.load_state_dict({k.removeprefix('backbone.'): v for k, v in convert_official(state).items()})

    def state_dict(self):
        return revert_official({f'backbone.{k}': v for k, v in self.ours.state_dict().items()})

    def named_parameters(self, *args):
        return []

def hb_former_tiny(features_only, out_indices):
    return Model('hb_former_tiny', out_indices)
"""


@pytest.mark.parametrize('factor', [1, 1.01])
def test_code_of_a_checkout_has_to_agree(factor, tmp_path, capsys):
    package = tmp_path / 'src' / 'hyenapixel'
    package.mkdir(parents=True)
    (package / 'models.py').write_text(f'FACTOR = {factor}\n{CHECKOUT}')
    for name in ('hyenapixel', 'hyenapixel.models'):
        sys.modules.pop(name, None)
    out = tmp_path / 'run.csv'
    command = ['backbone', 'hb_former_tiny', '--size', '64', '--official', str(tmp_path), '--rounds', '1']
    assert tool.main([*command, '--out', str(out)]) == (0 if factor == 1 else 2)
    if factor == 1:
        assert [row['against'] for row in csv.DictReader(out.open())] == ['official code']
    else:
        assert 'output 0 of hb_former_tiny 64 differs by' in capsys.readouterr().err and not out.exists()


@pytest.mark.parametrize(
    'args,message',
    [
        (['op', '4x6'], "size '4x6' is not of the form NxNxN"),
        (['op', '4x6x6', '4x7x7', '--kernel', '3', '5', '7'], '--kernel needs one number'),
        (['backbone', 'resnet'], "arch 'resnet' is unknown"),
        (['backbone', 'hpx_former_tiny', '--against', 'resnet'], '--against resnet is not'),
        (['backbone', 'hpx_former_tiny', '--fuse', '--mode', 'train'], '--fuse is for --mode eval'),
        (['op', '4x6x6', '--fuse'], 'op takes neither --fuse'),
        (['op', '4x6x6', '--official', '.'], '--official is for backbones'),
        (['op', '4x6x6', '--batch', '1', '0'], '--batch 0: give at least 1'),
        (['backbone', 'hpx_former_tiny', '--official', 'nothing'], 'nothing has no src/hyenapixel: clone'),
        (['model', 'nothing.py'], 'nothing.py does not exist'),
    ],
)
def test_tool_names_wrong_input(args, message, capsys):
    assert tool.main(args) == 2
    assert message in capsys.readouterr().err


def test_time_pairs_takes_the_median_of_paired_ratios(monkeypatch):
    times = dict(first=iter([100, 3, 2, 5]), second=iter([100, 9, 8, 50]))
    monkeypatch.setattr('benchmarks.harness._wall_ms', lambda name: next(times[name]))
    assert time_pairs('first', 'second', rounds=3, warmup=1) == Timing(3, 9, 4.0, 3.0, 10.0)


def test_saved_bytes_counts_each_storage_once():
    x, w = torch.randn(10, requires_grad=True), torch.randn(10, requires_grad=True)
    assert saved_bytes(lambda: x * w) == 80
    assert saved_bytes(lambda: x * x) == 40
    assert saved_bytes(lambda: x * w, but=[w]) == 40
    assert saved_bytes(lambda: x + w) == 0
