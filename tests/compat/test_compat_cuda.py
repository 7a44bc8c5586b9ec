"""The fallback's operators on a GPU against themselves on the CPU."""

import pytest
import torch

from mmhyena.compat import mmcv_ext_ops as ops

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')


def test_nms():
    corner = torch.randint(0, 40, (500, 2))
    boxes = torch.cat([corner, corner + torch.randint(1, 20, (500, 2))], dim=1).float()
    scores = torch.rand(500)
    kept = ops.nms(boxes.cuda(), scores.cuda(), 0.55, 1)
    assert kept.is_cuda
    assert torch.equal(kept.cpu(), ops.nms(boxes, scores, 0.55, 1))


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align(ratio, aligned):
    features = torch.randn(2, 3, 16, 12)
    rois = torch.tensor([[0, 1.0, 2, 40, 50], [1, -9, 3, 9, 99], [1, 20, 20, 10, 30], [0, 5, 5, 5, 5]])
    options = (3, 4, 0.25, ratio, 1, aligned)
    results = []
    for device in ('cpu', 'cuda'):
        output, grad = torch.empty(4, 3, 3, 4, device=device), torch.empty(2, 3, 16, 12, device=device)
        unused = torch.empty(0, device=device)
        ops.roi_align_forward(features.to(device), rois.to(device), output, unused, unused, *options)
        ops.roi_align_backward(output, rois.to(device), unused, unused, grad, *options)
        results.append((output.cpu(), grad.cpu()))
    torch.testing.assert_close(*results)


def test_sigmoid_focal_loss():
    logits, target, weight = torch.randn(20, 5), torch.randint(0, 6, (20,)), torch.rand(5)
    for op in (ops.sigmoid_focal_loss_forward, ops.sigmoid_focal_loss_backward):
        on_cpu, on_gpu = torch.empty(20, 5), torch.empty(20, 5).cuda()
        op(logits, target, weight, on_cpu, 2.0, 0.25)
        op(logits.cuda(), target.cuda(), weight.cuda(), on_gpu, 2.0, 0.25)
        torch.testing.assert_close(on_gpu.cpu(), on_cpu)


def test_deformable_attention():
    value, locations, weights = torch.randn(2, 14, 3, 4), torch.rand(2, 5, 3, 2, 2, 2), torch.rand(2, 5, 3, 2, 2)
    shapes, starts = torch.tensor([[3, 4], [1, 2]]), torch.tensor([0, 12])
    results = []
    for device in ('cpu', 'cuda'):
        inputs = [tensor.to(device) for tensor in (value, shapes, starts, locations, weights)]
        output = ops.ms_deform_attn_forward(*inputs, im2col_step=64)
        grads = [torch.empty_like(inputs[i]) for i in (0, 3, 4)]
        ops.ms_deform_attn_backward(*inputs, output, *grads, im2col_step=64)
        results.append([tensor.cpu() for tensor in (output, *grads)])
    torch.testing.assert_close(*results)
