"""RoIAlign of the fallback against its plain definition, and against compiled mmcv where there is one."""

import importlib
import math
from importlib.machinery import PathFinder

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhyena.compat import mmcv_ext_roi as ops
from mmhyena.compat.mmcv_ext import UnsupportedOpError


@pytest.fixture(scope='module')
def compiled():
    mmcv = pytest.importorskip('mmcv')
    if PathFinder.find_spec('mmcv._ext', mmcv.__path__) is None:
        pytest.skip('mmcv has no compiled operators')
    return importlib.import_module('mmcv._ext')


def sample_weights(y, x, height, width):
    """Pixels and weights of one bilinear sample: nothing beyond one pixel outside, the border's value up to there."""
    if y < -1 or y > height or x < -1 or x > width:
        return []
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    wy, wx = y - y0, x - x0
    return [(y0, x0, (1 - wy) * (1 - wx)), (y0, x1, (1 - wy) * wx), (y1, x0, wy * (1 - wx)), (y1, x1, wy * wx)]


def naive_roi_align(features, rois, size, scale, ratio, aligned):
    """Sample by sample in Python, differentiable by autograd."""
    height, width = features.shape[2:]
    rows = []
    for image, *corners in rois.tolist():
        x1, y1, x2, y2 = (value * scale - (0.5 if aligned else 0.0) for value in corners)
        w, h = x2 - x1, y2 - y1
        if not aligned:
            w, h = max(w, 1.0), max(h, 1.0)
        grid_h, grid_w = (ratio, ratio) if ratio > 0 else (math.ceil(h / size[0]), math.ceil(w / size[1]))
        for py in range(size[0]):
            for px in range(size[1]):
                value = features.new_zeros(features.shape[1])
                for iy in range(grid_h):
                    for ix in range(grid_w):
                        y = y1 + h / size[0] * (py + (iy + 0.5) / grid_h)
                        x = x1 + w / size[1] * (px + (ix + 0.5) / grid_w)
                        for row, column, weight in sample_weights(y, x, height, width):
                            value = value + weight * features[int(image), :, row, column]
                rows.append(value / max(grid_h * grid_w, 1))
    if not rows:
        return features.new_zeros(0, features.shape[1], *size)
    return torch.stack(rows).view(len(rois), *size, -1).permute(0, 3, 1, 2)


def call_forward(module, features, rois, size, scale, ratio, aligned):
    output = features.new_full((len(rois), features.shape[1], *size), torch.nan)
    unused = features.new_zeros(0)
    module.roi_align_forward(
        features,
        rois,
        output,
        unused,
        unused,
        aligned_height=size[0],
        aligned_width=size[1],
        spatial_scale=scale,
        sampling_ratio=ratio,
        pool_mode=1,
        aligned=aligned,
    )
    return output


def call_backward(module, grad_output, rois, shape, size, scale, ratio, aligned):
    grad = grad_output.new_zeros(shape)
    unused = grad_output.new_zeros(0)
    module.roi_align_backward(
        grad_output,
        rois,
        unused,
        unused,
        grad,
        aligned_height=size[0],
        aligned_width=size[1],
        spatial_scale=scale,
        sampling_ratio=ratio,
        pool_mode=1,
        aligned=aligned,
    )
    return grad


@st.composite
def cases(draw, proper=False):
    """Maps and RoIs in fp64; RoIs may leave the map, have no or negative area, be single or none."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    shape = (draw(st.integers(1, 2)), 2, draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    scale = draw(st.sampled_from([1.0, 0.5, 0.25, 0.375]))
    count = draw(st.sampled_from([5, 2, 1, 0]))
    extent = max(shape[2:]) / scale
    corner = (torch.rand(count, 2, generator=generator).double() * 1.6 - 0.4) * extent
    signed = torch.rand(count, 2, generator=generator).double() * 1.4 - (0.0 if proper else 0.3)
    size_of_roi = signed * extent * torch.randint(0, 4, (count, 1), generator=generator).clamp(max=1)
    image = torch.randint(0, shape[0], (count, 1), generator=generator)
    rois = torch.cat([image, corner, corner + size_of_roi], dim=1)
    features = torch.randn(shape, generator=generator, dtype=torch.float64)
    return features, rois, (draw(st.integers(1, 4)), draw(st.integers(1, 4))), scale


def check_against_definition(features, rois, *options):
    leaf = features.clone().requires_grad_()
    expected = naive_roi_align(leaf, rois, *options)
    output = call_forward(ops, features, rois, *options)
    torch.testing.assert_close(output, expected.detach())
    grad_output = torch.randn_like(output)
    grad = call_backward(ops, grad_output, rois, features.shape, *options)
    expected_grad = torch.zeros_like(features)
    if expected.requires_grad:
        (expected_grad,) = torch.autograd.grad(expected, leaf, grad_output)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [-1, 0, 1, 3])
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_roi_align_is_its_definition_forward_and_backward(case, ratio, aligned):
    check_against_definition(*case, ratio, aligned)


@pytest.mark.parametrize('aligned', [True, False])
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_axis_by_axis_is_the_definition(case, aligned):
    """The path for enormous RoIs, taken here for all RoIs with a sample at all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, 'MAX_SAMPLES', 0)
        check_against_definition(*case, 0, aligned)


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 1, 3])
@settings(max_examples=40, deadline=None)
@given(case=cases(proper=True))
def test_roi_align_is_compiled_roi_align(compiled, case, ratio, aligned):
    features, rois, *options = *case, ratio, aligned
    output = call_forward(ops, features, rois, *options)
    torch.testing.assert_close(output, call_forward(compiled, features, rois, *options))
    grad_output = torch.randn_like(output)
    grad = call_backward(ops, grad_output, rois, features.shape, *options)
    torch.testing.assert_close(grad, call_backward(compiled, grad_output, rois, features.shape, *options))


@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('far', [1e4, 1e9])
def test_enormous_rois_need_no_enormous_memory(far, aligned):
    """A constant map whose covered share of the middle bin is known: map area over bin area."""
    features = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    rois = torch.tensor([[0, -far, -far, far, far]], dtype=torch.float64)
    output = call_forward(ops, features, rois, (3, 3), 1.0, 0, aligned)
    # Samples count up to one pixel outside the map, so that it is 9 wide, give or take the two at its borders.
    covered = math.sqrt(output[0, 0, 1, 1].item()) * 2 * far / 3
    assert 8 <= covered <= 10
    assert output.count_nonzero() == 1
    grad = call_backward(ops, torch.ones_like(output), rois, features.shape, (3, 3), 1.0, 0, aligned)
    torch.testing.assert_close(grad.sum(), output.sum())


def test_an_endless_roi_beside_an_ordinary_one():
    features = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    rois = torch.tensor([[0, 1, 1, 5, 5], [0, 2, 2, 1e8, 4]], dtype=torch.float64)
    options = ((2, 2), 1.0, 0, True)
    both = call_forward(ops, features, rois, *options)
    torch.testing.assert_close(both[:1], naive_roi_align(features, rois[:1], *options))
    ones = torch.ones_like(both)
    grad = call_backward(ops, ones, rois, features.shape, *options)
    separate = [call_backward(ops, ones[n : n + 1], rois[n : n + 1], features.shape, *options) for n in range(2)]
    torch.testing.assert_close(grad, sum(separate))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_fp32_rounded(dtype):
    features = torch.randn(1, 3, 8, 8).to(dtype)
    rois = torch.tensor([[0.0, 1, 1, 6, 7]]).to(dtype)
    output = call_forward(ops, features, rois, (2, 2), 1.0, 2, True)
    assert output.dtype == dtype
    exact = call_forward(ops, features.float(), rois.float(), (2, 2), 1.0, 2, True)
    assert torch.equal(output, exact.to(dtype))
    grad = call_backward(ops, output, rois, features.shape, (2, 2), 1.0, 2, True)
    exact = call_backward(ops, output.float(), rois.float(), features.shape, (2, 2), 1.0, 2, True)
    assert torch.equal(grad, exact.to(dtype))


def test_max_pooling_names_the_way_to_compiled_mmcv():
    features, rois = torch.zeros(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]])
    empty = torch.zeros(1, 1, 2, 2)
    for op in (ops.roi_align_forward, ops.roi_align_backward):
        with pytest.raises(UnsupportedOpError, match=r"pool_mode='max'.*MMCV_WITH_OPS=1 pip install"):
            op(features, rois, empty, empty, empty, 2, 2, 1.0, 2, 0, True)


@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('value', [math.nan, math.inf])
def test_a_roi_that_is_not_finite_is_an_error(value, ratio):
    with pytest.raises(ValueError, match='infinite or NaN'):
        call_forward(ops, torch.zeros(1, 1, 4, 4), torch.tensor([[0, 0, 0, value, 3]]), (2, 2), 1.0, ratio, True)
