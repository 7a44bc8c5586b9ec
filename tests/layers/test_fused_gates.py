"""Every mixer hands its gates to a backend that fuses them, as far as no norm is in between."""

import pytest
import torch
from torch import nn

from mmhyena.layers import BidirectionalHyena, HyenaND, HyenaPixel
from mmhyena.ops import BACKENDS, backends, use_backend

MIXERS = {
    'hpx': (lambda: HyenaPixel(8, 5, position_dim=8), 1),
    'hb': (lambda: BidirectionalHyena(8, 40, position_dim=9, width=16), 1),
    'nd_causal': (lambda: HyenaND(8, 6), 1),
    'nd_order_3': (lambda: HyenaND(8, 6, order=3, direction='centered'), 2),
    'nd_parallel': (lambda: HyenaND(8, 6, direction='parallel'), 1),
}


@pytest.fixture
def gates(monkeypatch):
    """The gates that a backend which fuses them was given, as pairs of whether there is one before and one after."""
    seen = []

    def gated(conv):
        def run(u, kernel, axes, pre, post):
            seen.append((pre is not None, post is not None))
            y = conv(u if pre is None else pre * u, kernel, axes)
            return y if post is None else post * y

        return run

    fft = BACKENDS['fft']
    fusing = fft._replace(conv=gated(fft.conv), conv_prepared=gated(fft.conv_prepared), fuses_gates=True)
    monkeypatch.setitem(backends.BACKENDS, 'fusing', fusing)
    with use_backend('fusing'):
        yield seen


def run(mixer, training, backend):
    x = torch.randn(1, 6, 6, 8, generator=torch.Generator().manual_seed(0))
    mixer.train(training)
    with torch.set_grad_enabled(training), use_backend(backend):
        return mixer(x).detach()


@pytest.mark.parametrize('training', [False, True])
@pytest.mark.parametrize('name', MIXERS)
def test_both_gates_are_fused(name, training, gates):
    make, convolutions = MIXERS[name]
    mixer = make()
    want = run(mixer, training, 'fft')
    assert not gates
    torch.testing.assert_close(run(mixer, training, 'fusing'), want)
    # The last convolution takes the last gate; between two, the gate after one is the gate before the next.
    assert gates == [(True, step == convolutions - 1) for step in range(convolutions)]


@pytest.mark.parametrize('name', ['hpx', 'hb'])
def test_a_norm_a_hook_or_another_module_sees_the_product(name, gates):
    mixer = MIXERS[name][0]()
    want, seen = run(mixer, False, 'fft'), []
    handle = mixer.gate_norm.register_forward_hook(lambda part, args, output: seen.append(args[0]))
    torch.testing.assert_close(run(mixer, False, 'fusing'), want)
    assert len(seen) == 1 and gates == [(False, True)]
    handle.remove()
    mixer.gate_norm = nn.LayerNorm(8)
    run(mixer, False, 'fusing')
    assert gates[1:] == [(False, True)]


def test_dropout_and_shared_gates_leave_the_first_gate_outside(gates):
    dropped = HyenaND(8, 6, dropout=0.5)
    run(dropped, True, 'fusing')
    run(HyenaND(8, 6, order=3, direction='four_way'), False, 'fusing')  # one set of gates for four branches
    assert [pre for pre, _ in gates] == [False, False, False]
