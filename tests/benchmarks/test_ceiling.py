"""The products that every implementation shares are all there, whole."""

import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

from mmhyena.backbones import HyenaFormer

BENCHMARKS = Path(__file__).resolve().parents[2] / 'benchmarks'


@pytest.fixture
def ceiling(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module('ceiling')


@torch.no_grad()
def test_products_take_every_multiplication(ceiling, monkeypatch):
    torch.manual_seed(0)
    backbone, x = HyenaFormer(arch='hb_former_s18').eval(), torch.randn(1, 3, 40, 72)
    wanted, done = [], []
    for name, layer in backbone.named_modules():
        if isinstance(layer, nn.Linear) and '.filter.' not in name:
            layer.register_forward_hook(lambda layer, inputs, out: wanted.append(inputs[0].numel() * out.shape[-1]))
    product = ceiling.linear
    monkeypatch.setattr(ceiling, 'TILE', 10000)  # tiles with and without a rest
    products = ceiling.shared_products(backbone, x)
    monkeypatch.setattr(
        ceiling,
        'linear',
        lambda rows, weight, bias: done.append(rows.numel() * len(weight)) or product(rows, weight, bias),
    )
    for multiply in products:
        multiply()
    assert len(products) == 4 * 18 + 4  # two projections and the MLP's in each block, stem and downsampling
    assert sum(done) == sum(wanted)


def test_bad_size_is_one_line(ceiling, capsys):
    with pytest.raises(SystemExit) as stop:
        ceiling.parse_args(['--size', '800by600'])
    assert stop.value.code == 2
    assert "'800by600' is not of the form N or NxN" in capsys.readouterr().err
