"""Sigmoid focal loss of the fallback against its plain definition."""

import math

import pytest
import torch

from mmhyena.compat import mmcv_ext_ops as ops


def naive_focal_loss(logits, target, weight, gamma, alpha):
    """Logit by logit, differentiable by autograd."""
    rows = []
    for n, t in enumerate(target.tolist()):
        for c in range(logits.shape[1]):
            p = torch.sigmoid(logits[n, c])
            if t == c:
                loss = -alpha * (1 - p) ** gamma * torch.log(p)
            else:
                loss = -(1 - alpha) * p**gamma * torch.log(1 - p)
            factor = weight[t] if len(weight) and t < logits.shape[1] else 1.0
            rows.append(loss * factor)
    return torch.stack(rows).view_as(logits)


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.75)])
def test_loss_and_gradient_are_the_definition(gamma, alpha, weighted):
    logits = (3 * torch.randn(7, 4, dtype=torch.float64)).requires_grad_()
    target = torch.tensor([0, 1, 2, 3, 4, 4, 0])  # 4 is background
    weight = torch.rand(4, dtype=torch.float64) if weighted else logits.new_empty(0)
    expected = naive_focal_loss(logits, target, weight, gamma, alpha)
    (expected_grad,) = torch.autograd.grad(expected.sum(), logits)
    output, grad = torch.full_like(logits, math.nan), torch.full_like(logits, math.nan)
    with torch.no_grad():
        ops.sigmoid_focal_loss_forward(logits, target, weight, output, gamma=gamma, alpha=alpha)
        ops.sigmoid_focal_loss_backward(logits, target, weight, grad, gamma=gamma, alpha=alpha)
    torch.testing.assert_close(output, expected.detach())
    torch.testing.assert_close(grad, expected_grad)


def test_sure_logits_stay_finite():
    logits = torch.tensor([[90.0, -90.0]])
    output, grad = torch.empty_like(logits), torch.empty_like(logits)
    for target, sure in ((0, 0.0), (1, 0.25 * 90 + 0.75 * 90)):
        args = logits, torch.tensor([target]), logits.new_empty(0)
        ops.sigmoid_focal_loss_forward(*args, output, gamma=2.0, alpha=0.25)
        ops.sigmoid_focal_loss_backward(*args, grad, gamma=2.0, alpha=0.25)
        torch.testing.assert_close(output.sum().item(), sure)
        assert grad.isfinite().all()


def test_no_rows():
    logits = torch.empty(0, 3)
    output = torch.empty_like(logits)
    ops.sigmoid_focal_loss_forward(logits, torch.empty(0, dtype=torch.long), logits.new_empty(0), output, 2.0, 0.25)
    assert output.shape == (0, 3)


def test_half_precision_is_fp32_rounded():
    logits = torch.randn(3, 2).to(torch.bfloat16)
    output, exact = torch.empty_like(logits), torch.empty(3, 2)
    args = torch.tensor([0, 1, 2]), logits.new_empty(0)
    ops.sigmoid_focal_loss_forward(logits, *args, output, 2.0, 0.25)
    ops.sigmoid_focal_loss_forward(logits.float(), *args, exact, 2.0, 0.25)
    assert torch.equal(output, exact.to(torch.bfloat16))
