"""NMS and soft-NMS of the fallback against their plain definitions, and against compiled mmcv where there is one."""

import ctypes
import importlib
from importlib.machinery import PathFinder

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmhyena.compat import mmcv_ext_ops as ops

THRESHOLDS = [0.0, 0.3, 0.5, 0.6, 0.7, 1.0]


@pytest.fixture(scope='module')
def compiled():
    mmcv = pytest.importorskip('mmcv')
    if PathFinder.find_spec('mmcv._ext', mmcv.__path__) is None:
        pytest.skip('mmcv has no compiled operators')
    return importlib.import_module('mmcv._ext')


def f32(value: float) -> float:
    return ctypes.c_float(value).value


def iou(a, b, offset):
    """In fp32 and in the order in which mmcv and torchvision compute it; None where it is 0 / 0."""
    x1, y1, x2, y2 = np.maximum(a[0], b[0]), np.maximum(a[1], b[1]), np.minimum(a[2], b[2]), np.minimum(a[3], b[3])
    zero, offset = np.float32(0), np.float32(offset)
    inter = np.maximum(zero, x2 - x1 + offset) * np.maximum(zero, y2 - y1 + offset)
    area_a = (a[2] - a[0] + offset) * (a[3] - a[1] + offset)
    area_b = (b[2] - b[0] + offset) * (b[3] - b[1] + offset)
    union = area_a + area_b - inter
    return inter / union if union != 0 else None


def naive_nms(boxes, scores, threshold, offset):
    boxes = boxes.numpy()
    candidates = sorted(range(len(boxes)), key=lambda i: (-scores[i].item(), i))
    kept = []
    for i in candidates:
        overlaps = [iou(boxes[j], boxes[i], offset) for j in kept]
        if not any(o is not None and o > f32(threshold) for o in overlaps):
            kept.append(i)
    return kept


def naive_soft_nms(boxes, scores, threshold, sigma, min_score, method, offset):
    """Written after the procedure of mmcv: pick the best, decay the rest, drop by moving the last one into the hole."""
    live = [[i, box, np.float32(score)] for i, (box, score) in enumerate(zip(boxes.numpy(), scores.tolist()))]
    done = []
    while live:
        best = max(range(len(live)), key=lambda i: (live[i][2], -i))
        live[0], live[best] = live[best], live[0]
        picked = live.pop(0)
        done.append(picked)
        position = 0
        decayed = set()
        while position < len(live):
            entry = live[position]
            if entry[0] not in decayed:
                decayed.add(entry[0])
                o = iou(picked[1], entry[1], offset) or np.float32(0)
                if method == 2:
                    entry[2] *= np.exp(-(o * o) / np.float32(sigma))
                elif o >= np.float32(threshold):
                    entry[2] *= np.float32(1) - o if method == 1 else np.float32(0)
            if entry[2] < np.float32(min_score):
                live[position] = live[-1]
                live.pop()
            else:
                position += 1
    return [i for i, _, _ in done], [score for _, _, score in done]


@st.composite
def boxes_and_scores(draw, proper=False):
    """Boxes on a coarse grid, so that ties, equal boxes, zero and negative areas are common; sometimes huge."""
    count = draw(st.sampled_from([0, 1, 2, 6, 24]))
    scale = draw(st.sampled_from([1.0, 0.37, 1e6]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    corner = torch.randint(-4, 9, (count, 2), generator=generator)
    extent = torch.randint(1 if proper else -2, 9, (count, 2), generator=generator)
    levels = draw(st.sampled_from([2, 6, 1000]))
    scores = torch.randint(1, levels + 1, (count,), generator=generator) / levels
    return torch.cat([corner, corner + extent], dim=1).float() * scale, scores


@settings(max_examples=300, deadline=None)
@given(boxes_and_scores(), st.sampled_from(THRESHOLDS), st.sampled_from([0, 1]))
def test_nms_is_greedy_nms(data, threshold, offset):
    boxes, scores = data
    kept = ops.nms(boxes, scores, iou_threshold=threshold, offset=offset)
    assert kept.dtype == torch.int64
    assert kept.tolist() == naive_nms(boxes, scores, threshold, offset)


@settings(max_examples=100, deadline=None)
@given(boxes_and_scores(), st.sampled_from(THRESHOLDS), st.sampled_from([0, 1]))
def test_nms_is_compiled_nms(compiled, data, threshold, offset):
    boxes, scores = data
    scores = scores.argsort(stable=True).argsort() / 100  # the compiled one does not sort equal scores stably
    expected = compiled.nms(boxes, scores, iou_threshold=threshold, offset=offset)
    assert ops.nms(boxes, scores, iou_threshold=threshold, offset=offset).tolist() == expected.tolist()


@settings(max_examples=200, deadline=None)
@given(
    boxes_and_scores(),
    st.sampled_from(THRESHOLDS),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 1]),
)
def test_soft_nms_is_its_definition(data, threshold, min_score, method, offset):
    boxes, scores = data
    dets = torch.full((len(boxes), 5), torch.nan)
    kept = ops.softnms(boxes, scores, dets, threshold, 0.5, min_score, method, offset)
    indices, new_scores = naive_soft_nms(boxes, scores, threshold, 0.5, min_score, method, offset)
    assert kept.tolist() == indices
    assert torch.equal(dets[: len(kept), :4], boxes[kept])
    torch.testing.assert_close(dets[: len(kept), 4], torch.tensor(new_scores, dtype=torch.float32))


@settings(max_examples=100, deadline=None)
@given(
    boxes_and_scores(proper=True),
    st.sampled_from(THRESHOLDS),
    st.sampled_from([0.0, 0.1, 0.3]),
    st.sampled_from([0, 1, 2]),
    st.sampled_from([0, 1]),
)
def test_soft_nms_is_compiled_soft_nms(compiled, data, threshold, min_score, method, offset):
    boxes, scores = data
    options = dict(iou_threshold=threshold, sigma=0.5, min_score=min_score, method=method, offset=offset)
    ours, theirs = torch.zeros(len(boxes), 5), torch.zeros(len(boxes), 5)
    kept = ops.softnms(boxes, scores, ours, **options)
    expected = compiled.softnms(boxes, scores, theirs, **options)
    assert kept.tolist() == expected.tolist()
    torch.testing.assert_close(ours[: len(kept)], theirs[: len(kept)])


@pytest.mark.parametrize(('threshold', 'kept'), [(0.6, [0, 1]), (0.59, [0])])
def test_an_iou_that_equals_the_threshold_suppresses_nothing(threshold, kept):
    """3 / 5 in single precision is larger than 0.6 in double; mmcv compares in single."""
    boxes = torch.tensor([[0.0, 0, 5, 1], [0, 0, 3, 1]])
    assert ops.nms(boxes, torch.tensor([0.9, 0.8]), threshold, 0).tolist() == kept


def test_soft_nms_leaves_its_inputs_alone():
    boxes, scores = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 3]]), torch.tensor([0.4, 0.9])
    before = boxes.clone(), scores.clone()
    ops.softnms(boxes, scores, torch.empty(2, 5), 0.3, 0.5, 0.0, 1, 0)
    assert torch.equal(boxes, before[0])
    assert torch.equal(scores, before[1])


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_nms_takes_every_float_dtype_and_mixtures(dtype):
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 10]])
    scores = torch.tensor([0.5, 0.75, 0.25])
    assert ops.nms(boxes.to(dtype), scores.to(dtype), 0.5, 0).tolist() == [1, 2]
    assert ops.nms(boxes, scores.to(dtype), 0.5, 0).tolist() == [1, 2]


def test_nms_of_many_boxes():
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(20_000, 2, generator=generator) * 1000
    boxes = torch.cat([corner, corner + 20 * torch.rand(20_000, 2, generator=generator)], dim=1)
    scores = torch.rand(20_000, generator=generator)
    kept = ops.nms(boxes, scores, 0.5, 0)
    assert 0 < len(kept) < 20_000
    assert torch.equal(ops.nms(boxes[kept], scores[kept], 0.5, 0), torch.arange(len(kept)))
