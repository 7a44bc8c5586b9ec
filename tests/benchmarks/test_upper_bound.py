"""The products that every implementation shares are all there, whole."""

import csv

import pytest
import torch
from torch import nn

from benchmarks import upper_bound
from mmhyena.backbones import HyenaFormer


@torch.no_grad()
def test_products_take_every_multiplication(monkeypatch):
    torch.manual_seed(0)
    backbone, x = HyenaFormer(arch='hb_former_s18').eval(), torch.randn(1, 3, 40, 72)
    wanted, done = [], []
    for name, layer in backbone.named_modules():
        if isinstance(layer, nn.Linear) and '.filter.' not in name:
            layer.register_forward_hook(lambda layer, inputs, out: wanted.append(inputs[0].numel() * out.shape[-1]))
    product = upper_bound.linear
    monkeypatch.setattr(upper_bound, 'TILE', 10000)  # tiles with and without a rest
    products = upper_bound.shared_products(backbone, x)
    monkeypatch.setattr(
        upper_bound,
        'linear',
        lambda rows, weight, bias: done.append(rows.numel() * len(weight)) or product(rows, weight, bias),
    )
    for multiply in products:
        multiply()
    assert len(products) == 4 * 18 + 4  # two projections and the MLP's in each block, stem and downsampling
    assert sum(done) == sum(wanted)


@pytest.mark.parametrize('size', ['800by600', '0', '1x2x3'])
def test_bad_size_is_one_line(capsys, tmp_path, size):
    assert upper_bound.main(['--size', '32', size, '--csv', str(tmp_path / 'rows.csv')]) == 2
    assert capsys.readouterr().err == f"error: size '{size}' is not of the form NxN\n"
    assert not any(tmp_path.iterdir())


def test_rows_carry_machine_and_command(tmp_path):
    out = tmp_path / 'rows.csv'
    assert upper_bound.main(['--arch', 'hpx_former_tiny', '--size', '32x48', '--rounds', '2', '--csv', str(out)]) == 0
    (row,) = csv.DictReader(out.open())
    assert row['case'] == 'hpx_former_tiny 32x48' and float(row['upper_bound']) > 0
    assert row['torch'] == torch.__version__ and '--size 32x48' in row['command']
