"""Every token mixer under torch.compile: one graph, the same outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from mmengine.utils import digit_version

from mmhyena.layers import (
    Attention,
    BidirectionalHyena,
    HyenaND,
    HyenaPixel,
    LearnedMaskAttention,
    SepConv,
    WindowedMixer,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        digit_version(torch.__version__) < digit_version('2.4'), reason='operators of our own in a graph need torch 2.4'
    ),
]
MIXERS = {
    'hyena_pixel': lambda: HyenaPixel(8, 15),
    'hyena_pixel_norm': lambda: HyenaPixel(8, 15, norm=True),
    'hyena_pixel_resized': lambda: HyenaPixel(8, 15, filter_resize=True),
    'bidirectional': lambda: BidirectionalHyena(8, 64),
    'nd': lambda: HyenaND(8, 8, order=3),
    'nd_four_way': lambda: HyenaND(8, 8, direction='four_way', filter='product'),
    'nd_parallel': lambda: HyenaND(8, 8, direction='parallel', filter='direct'),
    'attention': lambda: Attention(8, 4),
    'mask': lambda: LearnedMaskAttention(8, 6, num_heads=2),
    'sep_conv': lambda: SepConv(8),
    'windowed': lambda: WindowedMixer(8, dict(type='HyenaPixel', kernel_size=7), 4, block_index=1),
}


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
