"""RoIAlign (He et al. 2017, arXiv 1703.06870) with mmcv's calling convention on top of torchvision.

RoIs are rows of image index, x1, y1, x2, y2. With adaptive sampling (``sampling_ratio <= 0``) an output bin takes one
sample per started pixel of its size. A RoI of negative size then has no samples and gives zeros, on every device;
torchvision's CPU kernel, which lists all samples of a RoI beforehand, can crash on those and on enormous ones. Both are
kept away from it here: the former are made empty, the latter are computed axis by axis.
"""

import math

import torch
import torchvision
from torch import Tensor

from mmhyena.compat.mmcv_ext import unsupported_op

# Samples of one RoI from which it is computed axis by axis on the CPU; torchvision would list them in 128 MiB.
MAX_SAMPLES = 2**22
AVERAGE = 1  # mmcv's code for pool_mode='avg'


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in for tensors of ``dtype``: fp32 and fp64 themselves, fp32 for all others."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.float32


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average bilinear samples of ``input`` in each bin of each RoI into ``output``.

    Args:
        input: Feature maps, (B, C, H, W).
        rois: Image index and corners in image pixels, (N, 5).
        output: (N, C, aligned_height, aligned_width).
        argmax_y: Output of max pooling alone, unused.
        argmax_x: Output of max pooling alone, unused.
        aligned_height: Bins per column.
        aligned_width: Bins per row.
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis; 0 or less for one per started pixel.
        pool_mode: 1, average; mmcv's 0, maximum, is not supported.
        aligned: Whether pixel centers are at half integers; if not, a RoI is at least one feature pixel wide and high.

    Raises:
        UnsupportedOpError: For max pooling.
        ValueError: If a RoI on the CPU is not finite.
    """
    _check_pool_mode(pool_mode)
    dtype = compute_dtype(input.dtype)
    features, rois = input.to(dtype), rois.to(dtype)
    size = (aligned_height, aligned_width)
    sampled, enormous = _split_rois(rois, size, spatial_scale, sampling_ratio, aligned)
    pooled = torchvision.ops.roi_align(features, sampled, size, spatial_scale, sampling_ratio, aligned)
    for n in enormous:
        image, rows, columns = _bin_weights(rois[n], size, spatial_scale, aligned, features)
        pooled[n] = rows @ features[image] @ columns.T  # (C, aligned_height, aligned_width)
    output.copy_(pooled)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient by the feature maps of :func:`roi_align_forward` to ``grad_input`` (B, C, H, W).

    Args:
        grad_output: (N, C, aligned_height, aligned_width).
        rois: As in :func:`roi_align_forward`, and so the other arguments.
        argmax_y: Unused.
        argmax_x: Unused.
        grad_input: Output.
        aligned_height: Bins per column.
        aligned_width: Bins per row.
        spatial_scale: Feature pixels per image pixel.
        sampling_ratio: Samples per bin and axis; 0 or less for one per started pixel.
        pool_mode: 1, average.
        aligned: Whether pixel centers are at half integers.

    Raises:
        UnsupportedOpError: For max pooling.
        ValueError: If a RoI on the CPU is not finite.
    """
    _check_pool_mode(pool_mode)
    dtype = compute_dtype(grad_input.dtype)
    grad, rois = grad_output.to(dtype), rois.to(dtype)
    size = (aligned_height, aligned_width)
    sampled, enormous = _split_rois(rois, size, spatial_scale, sampling_ratio, aligned)
    # Without `aligned`, an emptied RoI is still one pixel large: its gradient must not be added twice.
    sampled_grad = grad.index_fill(0, torch.tensor(enormous, device=grad.device, dtype=torch.long), 0)
    grad_features = torch.ops.torchvision._roi_align_backward(
        sampled_grad, sampled, spatial_scale, *size, *grad_input.shape, sampling_ratio, aligned
    )
    for n in enormous:
        image, rows, columns = _bin_weights(rois[n], size, spatial_scale, aligned, grad_features)
        grad_features[image] += rows.T @ grad[n] @ columns  # (C, H, W)
    grad_input.copy_(grad_features)


def _check_pool_mode(pool_mode: int) -> None:
    if pool_mode != AVERAGE:
        unsupported_op("roi_align with pool_mode='max'")()


def _split_rois(
    rois: Tensor, size: tuple[int, int], spatial_scale: float, sampling_ratio: int, aligned: bool
) -> tuple[Tensor, list[int]]:
    """Empty the RoIs that torchvision cannot sample.

    Returns:
        RoIs (N, 5) with those of negative size and the enormous ones made empty; the indices of the enormous ones.
    """
    if not rois.is_cuda and not torch.isfinite(rois).all():
        raise ValueError('RoIAlign: some RoIs are infinite or NaN; the model that made them may have diverged')
    if sampling_ratio > 0:
        return rois, []
    low, high = rois[:, 1:3], rois[:, 3:5]  # (N, 2), (N, 2) as x, y
    if aligned:
        high = torch.maximum(low, high)
    enormous = []
    if not rois.is_cuda:
        bins = high.new_tensor([size[1], size[0]], dtype=torch.float64)
        per_bin = ((high.double() - low.double()) * spatial_scale / bins).ceil()  # (N, 2)
        samples = per_bin.clamp(min=0).prod(dim=1) * math.prod(size)
        enormous = torch.nonzero(samples > MAX_SAMPLES)[:, 0].tolist()
        high = high.clone()
        high[enormous] = low[enormous]
    return torch.cat([rois[:, :1], low, high], dim=1), enormous


def _bin_weights(
    roi: Tensor, size: tuple[int, int], spatial_scale: float, aligned: bool, features: Tensor
) -> tuple[int, Tensor, Tensor]:
    """Return a RoI's image and the weights of the map's rows (size[0], H) and columns (size[1], W) in its bins."""
    offset, smallest = (0.5, 0.0) if aligned else (0.0, 1.0)
    image, *corners = roi.tolist()
    x1, y1, x2, y2 = (value * spatial_scale - offset for value in corners)
    rows = _axis_weights(y1, max(y2 - y1, smallest), size[0], features.shape[2])
    columns = _axis_weights(x1, max(x2 - x1, smallest), size[1], features.shape[3])
    return int(image), rows.to(features), columns.to(features)


def _axis_weights(start: float, extent: float, bins: int, length: int) -> Tensor:
    """Return the weights of ``length`` pixels in the means over ``bins`` equal parts of [start, start + extent].

    Only samples within one pixel of the map count, so that the work does not grow with the RoI. Shape (bins, length).
    """
    per_bin = math.ceil(extent / bins)
    step = extent / bins / per_bin
    first = max(math.ceil((-1 - start) / step - 0.5), 0)
    last = min(math.floor((length - start) / step - 0.5), bins * per_bin - 1)
    index = torch.arange(first, max(last + 1, first))
    position = (start + (index.double() + 0.5) * step).clamp(0, length - 1)
    low = position.floor().long()
    high = (low + 1).clamp(max=length - 1)
    weight = position - low
    weights = torch.zeros(bins, length, dtype=torch.float64)
    weights.index_put_((index // per_bin, low), 1 - weight, accumulate=True)
    weights.index_put_((index // per_bin, high), weight, accumulate=True)
    return weights / per_bin
