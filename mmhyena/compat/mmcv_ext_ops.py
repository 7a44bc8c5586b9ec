"""Operators of ``mmcv._ext`` on top of torch and torchvision: what the detectors and segmentors of our configs call.

The functions follow the calling convention of mmcv 2.1 and onedl-mmcv 2.3, where ``mmcv.ops`` allocates the outputs and
the operator fills them in place. They run on every device that torchvision's kernels support. Dtypes without a kernel
(fp16, bf16) are computed in fp32.
"""

import ctypes

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from mmhyena.compat.mmcv_ext_deform import (
    deform_conv_backward_input,
    deform_conv_backward_parameters,
    deform_conv_forward,
    modulated_deform_conv_backward,
    modulated_deform_conv_forward,
    ms_deform_attn_backward,
    ms_deform_attn_forward,
)
from mmhyena.compat.mmcv_ext_roi import compute_dtype, roi_align_backward, roi_align_forward

__all__ = [
    'nms',
    'softnms',
    'roi_align_forward',
    'roi_align_backward',
    'sigmoid_focal_loss_forward',
    'sigmoid_focal_loss_backward',
    'ms_deform_attn_forward',
    'ms_deform_attn_backward',
    'deform_conv_forward',
    'deform_conv_backward_input',
    'deform_conv_backward_parameters',
    'modulated_deform_conv_forward',
    'modulated_deform_conv_backward',
    'get_compiler_version',
    'get_compiling_cuda_version',
]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes: Corners x1, y1, x2, y2 in pixels, (N, 4).
        scores: (N,).
        iou_threshold: A box goes if its IoU with a better one is larger.
        offset: 1 if x2 and y2 are the last pixel's index, 0 if they are its far edge.

    Returns:
        Indices of the kept boxes by falling score, int64, (K,). Equal scores keep their order.
    """
    dtype = compute_dtype(boxes.dtype)
    boxes = boxes.to(dtype)
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # mmcv compares with a threshold in single precision; it decides where an IoU is exactly 0.6, say.
    return torchvision.ops.nms(boxes, scores.to(dtype), ctypes.c_float(iou_threshold).value)


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al. 2017, arXiv 1704.04503): overlapping boxes lose score instead of being removed.

    Two boxes without area do not overlap. Runs on the CPU, as mmcv's own.

    Args:
        boxes: Corners x1, y1, x2, y2 in pixels, (N, 4).
        scores: (N,).
        dets: Output, boxes and their new scores in the order of the returned indices, (N, 5); only the first K rows
            are written.
        iou_threshold: Overlap from which methods 0 and 1 act.
        sigma: Width of the Gaussian of method 2.
        min_score: Boxes that fall below are removed.
        method: 0 sets the score to zero (hard NMS), 1 multiplies by 1 - IoU, 2 by exp(-IoU^2 / sigma).
        offset: 1 if x2 and y2 are the last pixel's index, 0 if they are its far edge.

    Returns:
        Indices of the kept boxes by falling score, int64, (K,).
    """
    rows = torch.cat([boxes, scores[:, None]], dim=1).to(compute_dtype(boxes.dtype)).numpy()  # (N, 5)
    order = np.arange(len(rows))
    iou_threshold = rows.dtype.type(ctypes.c_float(iou_threshold).value)
    done = 0
    while done < len(rows):
        best = done + int(np.argmax(rows[done:, 4]))
        for array in (rows, order):
            array[[done, best]] = array[[best, done]]
        done += 1
        rest = rows[done:]
        rest[:, 4] *= _decay(_overlaps(rows[done - 1], rest, offset), method, iou_threshold, sigma)
        keep = _fill_from_back(~(rest[:, 4] < min_score))
        rows = np.concatenate([rows[:done], rest[keep]])
        order = np.concatenate([order[:done], order[done:][keep]])
    dets[: len(rows)] = torch.from_numpy(rows).to(dets.dtype)
    return torch.from_numpy(order)


def _overlaps(box: np.ndarray, others: np.ndarray, offset: int) -> np.ndarray:
    """IoU of one row x1, y1, x2, y2, ... with each of others (M, 4 or more), (M,)."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:4], others[:, 2:4])
    inter = np.prod(np.maximum(high - low + offset, 0), axis=1)
    area = np.prod(box[2:4] - box[:2] + offset)
    areas = np.prod(others[:, 2:4] - others[:, :2] + offset, axis=1)
    union = area + areas - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union != 0)


def _decay(iou: np.ndarray, method: int, iou_threshold: float, sigma: float) -> np.ndarray:
    if method == 2:
        return np.exp(-(iou * iou) / iou.dtype.type(sigma))
    return np.where(iou >= iou_threshold, 1 - iou if method == 1 else 0, 1).astype(iou.dtype)


def _fill_from_back(keep: np.ndarray) -> np.ndarray:
    """Indices of the kept entries after each hole, front to back, is filled with the last kept entry.

    The order decides between equal scores; this is mmcv's.
    """
    count = int(keep.sum())
    indices = np.arange(count)
    indices[~keep[:count]] = count + np.flatnonzero(keep[count:])[::-1]
    return indices


def sigmoid_focal_loss_forward(
    input: Tensor, target: Tensor, weight: Tensor, output: Tensor, gamma: float, alpha: float
) -> None:
    """Focal loss of every logit (Lin et al. 2017, arXiv 1708.02002, equation 5), written to ``output``.

    Args:
        input: Logits, (N, C).
        target: Class indices, int64, (N,); C is background.
        weight: Factor per class of the target, (C,), or empty; background has factor 1.
        output: (N, C).
        gamma: Focusing exponent.
        alpha: Weight of the positive logits, 1 - alpha that of the negative ones.
    """
    logits, positive = _focal_inputs(input, target)
    p = logits.sigmoid()
    loss = torch.where(
        positive,
        -alpha * (1 - p) ** gamma * F.logsigmoid(logits),
        -(1 - alpha) * p**gamma * F.logsigmoid(-logits),
    )
    output.copy_(loss * _class_factor(weight, target, logits.dtype))


def sigmoid_focal_loss_backward(
    input: Tensor, target: Tensor, weight: Tensor, grad_input: Tensor, gamma: float, alpha: float
) -> None:
    """Derivative of :func:`sigmoid_focal_loss_forward` by each logit, written to ``grad_input`` (N, C)."""
    logits, positive = _focal_inputs(input, target)
    p = logits.sigmoid()
    grad = torch.where(
        positive,
        -alpha * (1 - p) ** gamma * (1 - p - gamma * p * F.logsigmoid(logits)),
        -(1 - alpha) * p**gamma * (gamma * (1 - p) * F.logsigmoid(-logits) - p),
    )
    grad_input.copy_(grad * _class_factor(weight, target, logits.dtype))


def _focal_inputs(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    logits = input.to(compute_dtype(input.dtype))
    classes = torch.arange(input.shape[1], device=input.device)
    return logits, target[:, None] == classes  # (N, C), (N, C)


def _class_factor(weight: Tensor, target: Tensor, dtype: torch.dtype) -> Tensor | float:
    if weight.numel() == 0:
        return 1.0
    return F.pad(weight.to(dtype), (0, 1), value=1.0)[target][:, None]  # (N, 1)


def get_compiler_version() -> str:
    """Returned where mmcv reports its compiler."""
    return 'none (mmhyena fallback)'


def get_compiling_cuda_version() -> str:
    """Returned where mmcv reports the CUDA version it was compiled with."""
    return 'none (mmhyena fallback)'
