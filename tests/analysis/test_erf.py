"""Effective receptive fields of convolutions whose field is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmhyena.analysis.erf import EffectiveReceptiveField, receptive_field


def box(kernel: int, layers: int = 1) -> nn.Sequential:
    convs = [nn.Conv2d(1, 1, kernel, padding=kernel // 2, bias=False) for _ in range(layers)]
    for conv in convs:
        nn.init.ones_(conv.weight)
    return nn.Sequential(*convs)


@pytest.mark.parametrize('kernel', [1, 5, 9])
@pytest.mark.parametrize('size', [(33, 33), (31, 47)])
def test_field_of_a_box_filter_is_its_kernel(kernel, size):
    field = receptive_field(box(kernel), [torch.ones(1, *size)] * 3)
    rows, columns = np.nonzero(field.scores)
    center = size[0] // 2, size[1] // 2
    assert field.images == 3
    assert (rows.min(), rows.max()) == (center[0] - kernel // 2, center[0] + kernel // 2)
    assert (columns.min(), columns.max()) == (center[1] - kernel // 2, center[1] + kernel // 2)
    assert np.allclose(field.scores[rows, columns], 1)


def test_area_ratio_counts_the_smallest_centered_window():
    field = receptive_field(box(7), [torch.ones(1, 35, 35)])
    assert field.area_ratio(0.99) == pytest.approx(7 * 7 / 35**2)
    assert field.area_ratio(0.5) == pytest.approx(5 * 5 / 35**2)  # 25 of 49 taps
    assert list(field.area_ratios()) == [0.2, 0.3, 0.5, 0.99]


def test_stacked_filters_are_wide_and_concentrated():
    one, three = (receptive_field(box(7, layers), [torch.ones(1, 65, 65)]) for layers in (1, 3))
    assert (three.scores > 0).sum() == 19**2 and (one.scores > 0).sum() == 7**2
    assert three.area_ratio(0.5) < 0.5 * 19**2 / 65**2


def test_negative_contributions_do_not_count():
    model = box(3)
    with torch.no_grad():
        model[0].weight[..., 0, 0] = -1
    field = receptive_field(model, [torch.ones(1, 9, 9)])
    assert (field.scores > 0).sum() == 8


def test_heat_is_between_zero_and_one():
    heat = receptive_field(box(5), [torch.ones(1, 9, 9)]).heat()
    assert heat.min() == 0 and heat.max() == 1


@pytest.mark.parametrize('threshold', [0, 1, -0.5])
def test_threshold_is_checked(threshold):
    with pytest.raises(ValueError, match='threshold must be between 0 and 1'):
        EffectiveReceptiveField(np.ones((3, 3)), 1).area_ratio(threshold)


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match='at least one image'):
        receptive_field(box(3), [])
    with pytest.raises(ValueError, match='images of one size'):
        receptive_field(box(3), [torch.ones(1, 5, 5), torch.ones(1, 6, 5)])
    with pytest.raises(ValueError, match='feature map'):
        receptive_field(lambda x: x.mean((2, 3)), [torch.ones(1, 5, 5)])


@pytest.mark.parametrize(('at', 'pixel'), [((0.0, 0.0), (0, 0)), ((0.5, 0.99), (16, 46)), ((0.7, 0.2), (23, 9))])
def test_field_of_a_position_is_the_kernel_around_it(at, pixel):
    field = receptive_field(box(5), [torch.ones(1, 33, 47)], at)
    assert field.position == pytest.approx(pixel)
    rows, columns = np.nonzero(field.scores)
    assert (rows.min(), rows.max()) == (max(pixel[0] - 2, 0), min(pixel[0] + 2, 32))
    assert (columns.min(), columns.max()) == (max(pixel[1] - 2, 0), min(pixel[1] + 2, 46))


def test_position_is_the_middle_of_the_feature():
    field = receptive_field(lambda x: torch.nn.functional.avg_pool2d(x, 8), [torch.ones(1, 32, 32)], (0.3, 0.9))
    assert field.position == (11.5, 27.5)  # of pixels 8 to 15 and 24 to 31
    assert field.radius(0.99) == pytest.approx(np.hypot(3.5, 3.5))


def test_radius_is_the_distance_that_holds_a_share():
    field = receptive_field(box(5), [torch.ones(1, 21, 21)], (0.5, 0.5))
    assert field.radius(1 / 25) == 0
    assert field.radius(0.3) == pytest.approx(np.sqrt(2))  # 9 of 25 taps
    assert field.radius(0.99) == pytest.approx(np.sqrt(8))
    central = receptive_field(box(5), [torch.ones(1, 21, 21)])
    assert central.radius(0.5) == field.radius(0.5)


@pytest.mark.parametrize('at', [(1.0, 0.5), (0.5, -0.1)])
def test_a_position_outside_is_named(at):
    with pytest.raises(ValueError, match='two fractions of the image'):
        receptive_field(box(3), [torch.ones(1, 5, 5)], at)


def test_area_is_that_of_the_central_feature():
    with pytest.raises(ValueError, match='centered window'):
        receptive_field(box(3), [torch.ones(1, 5, 5)], (0.1, 0.1)).area_ratio(0.5)
