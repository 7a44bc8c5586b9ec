"""The gates in one operator against their elementary steps."""

import pytest
import torch

from mmhyena.ops import split_gates


def elementary(wide, last):
    thirds = list(wide.chunk(3, dim=-1))
    gate = thirds.pop(last)
    return thirds[0] * thirds[1], gate


@pytest.mark.parametrize('last', [0, 1, 2])
@pytest.mark.parametrize('shape', [(2, 5, 3, 12), (1, 1, 3), (0, 4, 6)])
def test_equals_the_elementary_steps_with_the_gradient(shape, last):
    wide = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    got, want = split_gates(wide, last), elementary(wide, last)
    grads = [torch.randn_like(out) for out in want]
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)
    (a,), (b,) = (torch.autograd.grad(outs, wide, grads) for outs in (got, want))
    torch.testing.assert_close(a, b)


def test_gradient_of_one_output_alone():
    wide = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    for which in (0, 1):
        (a,), (b,) = (torch.autograd.grad(f(wide, 2)[which].sum(), wide) for f in (split_gates, elementary))
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradcheck(lambda x: split_gates(x, 1), wide)
