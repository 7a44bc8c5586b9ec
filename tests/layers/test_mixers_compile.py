"""Every token mixer under torch.compile: one graph, the same outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from mixer_cases import MIXERS
from mmengine.utils import digit_version

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        digit_version(torch.__version__) < digit_version('2.4'), reason='operators of our own in a graph need torch 2.4'
    ),
]


@pytest.fixture(params=MIXERS)
def mixer(request):
    torch.manual_seed(0)
    torch._dynamo.reset()
    return MIXERS[request.param]()


def compiled(mixer):
    return torch.compile(mixer, fullgraph=True, backend='aot_eager')


@torch.no_grad()
def test_evaluation(mixer):
    mixer.eval()
    x = torch.randn(2, 8, 8, 8)
    torch.testing.assert_close(compiled(mixer)(x), mixer(x), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_evaluation_under_autocast(mixer):
    mixer.eval()
    x, fast = torch.randn(2, 8, 8, 8), compiled(mixer)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        want, got = mixer(x), fast(x)
    assert got.dtype == want.dtype and (got - want).norm() <= 0.02 * want.norm()


def test_training(mixer):
    results = []
    x = torch.randn(2, 8, 8, 8)
    for model in (mixer, compiled(mixer)):
        mixer.zero_grad()
        here = x.clone().requires_grad_()
        out = model(here)
        out.square().sum().backward()
        results.append([out.detach(), here.grad, *(p.grad.clone() for p in mixer.parameters())])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4)
