"""Backbones under torch.compile without a graph break, and exported without an FFT."""

import pytest
import torch
from mmengine.utils import digit_version

from mmhyena.backbones import HyenaFormer
from mmhyena.ops import long_conv, naive_long_conv, use_backend

pytestmark = pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version('2.4'), reason='operators of our own in a graph need torch 2.4'
)
ARCHS = ['hpx_former_tiny', 'hb_former_tiny']


def build(arch):
    torch.manual_seed(0)
    settings = HyenaFormer.arch_settings[arch]
    return HyenaFormer(arch=dict(settings, depths=(1, 1, 1, 1), channels=(8, 16, 24, 32)))


@pytest.mark.parametrize('arch,training', [(ARCHS[0], False), (ARCHS[0], True), (ARCHS[1], True)])
def test_compiles_as_one_graph_forward_and_backward(arch, training):
    model, x = build(arch).train(training), torch.randn(1, 3, 32, 64)
    # aot_eager traces forward and backward like inductor does, and leaves the C++ compiler out of the test
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    want, got = model(x), compiled(x)
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    grads = []
    for outs in (want, got):
        model.zero_grad()
        sum(out.square().mean() for out in outs).backward()
        grads.append([p.grad.clone() for p in model.parameters()])
    for a, b in zip(*grads):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize('arch', ARCHS)
def test_exports_without_fft(arch):
    model, x = build(arch).eval(), torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        want = model(x)
        with use_backend('dft'):
            program = torch.export.export(model, (x,), strict=False)
        got = program.module()(x)
    names = {str(node.target) for node in program.graph.nodes if node.op == 'call_function'}
    assert not [name for name in names if 'fft' in name or 'mmhyena' in name or 'complex' in name]
    for a, b in zip(got, want):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_exports_one_after_another_leave_nothing_behind():
    # Sizes that no other test has: what the first export makes must serve neither the second nor a plain call.
    u, k = torch.randn(1, 2, 11, 13), torch.randn(2, 5, 9)

    class Convolution(torch.nn.Module):
        def forward(self, u):
            return long_conv(u, k, backend='dft')

    want = naive_long_conv(u, k)
    for _ in range(2):
        program = torch.export.export(Convolution(), (u,), strict=False)
        torch.testing.assert_close(program.module()(u), want, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(long_conv(u, k, backend='dft'), want, rtol=1e-4, atol=1e-4)
