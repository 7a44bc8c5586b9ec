"""Backbones under torch.compile without a graph break, and exported with their kernels as constants."""

import pytest
import torch
from mmengine.utils import digit_version

from mmhyena.backbones import HyenaFormer
from mmhyena.layers import HyenaPixel
from mmhyena.ops import BACKENDS, long_conv, naive_long_conv, use_backend

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


class Graphs:
    """A compiler that keeps the graphs it is given and runs them as they are."""

    def __init__(self):
        self.graphs = []

    def __call__(self, graph, inputs):
        self.graphs.append(graph)
        return graph

    def names(self):
        return [str(node.target) for graph in self.graphs for node in graph.graph.nodes]


def test_compiled_evaluation_looks_kernels_up_and_sees_new_weights():
    model, x = build(ARCHS[0]).eval(), torch.randn(1, 3, 32, 64)
    compiler = Graphs()
    compiled = torch.compile(model, fullgraph=True, backend=compiler)
    calls = []
    model.stages[0][0].token_mixer.long_conv.filter.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        for _ in range(2):
            torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
        assert len(compiler.graphs) == 1
        assert sum('constant_long_conv' in name for name in compiler.names()) == 4
        assert not [name for name in compiler.names() if 'filter' in name or 'sin' in name.split('.')[-1]]
        made = len(calls)
        for parameter in model.parameters():
            parameter.mul_(1.1)
        torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-5)
    assert len(compiler.graphs) == 1 and len(calls) == made + 1


def test_use_backend_reaches_a_compiled_model(monkeypatch):
    mixer, x = HyenaPixel(8, 15).eval(), torch.randn(1, 9, 8, 8)
    compiled = torch.compile(mixer, fullgraph=True, backend='eager')
    seen = []
    plain = BACKENDS['dft']
    spy = plain._replace(conv_prepared=lambda *args: seen.append('dft') or plain.conv_prepared(*args))
    monkeypatch.setitem(BACKENDS, 'dft', spy)
    with torch.no_grad():
        with use_backend('fft'):
            want = compiled(x)
        assert not seen
        with use_backend('dft'):
            torch.testing.assert_close(compiled(x), want, rtol=1e-4, atol=1e-5)
        assert seen == ['dft']


def exported(model, x, backend):
    with torch.no_grad(), use_backend(backend):
        want = model(x)
        program = torch.export.export(model, (x,), strict=False)
        for a, b in zip(program.module()(x), want):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    return program, [str(node.target) for node in program.graph.nodes if node.op == 'call_function']


@pytest.mark.parametrize('backend', ['fft', 'dft'])
@pytest.mark.parametrize('arch', ARCHS)
def test_exports_with_the_backend_that_was_asked_for(arch, backend):
    model, x = build(arch).eval(), torch.randn(1, 3, 96, 64)
    program, names = exported(model, x, backend)
    assert any('fft' in name for name in names) == (backend == 'fft')
    assert not [name for name in names if 'mmhyena' in name]  # it loads without this package
    assert not [name for name in names if name.split('.')[1:2] in (['sin'], ['cos'], ['arange'], ['linspace'])]
    convolutions = 4
    assert len(names) / convolutions < 120
    # Spectra have about eight numbers per pixel and channel, matrices four per pixel of an axis in 2-D.
    size = sum(t.numel() * t.element_size() for t in program.constants.values() if isinstance(t, torch.Tensor))
    assert size < 4e6


def test_a_model_that_never_ran_is_exported_with_its_filters(caplog):
    model, x = HyenaPixel(8, 15).eval(), torch.randn(1, 9, 8, 8)
    with torch.no_grad():
        program = torch.export.export(model, (x,), strict=False)
        torch.testing.assert_close(program.module()(x), model(x), rtol=1e-4, atol=1e-5)
    assert 'run the model once before it is exported' in caplog.text


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
