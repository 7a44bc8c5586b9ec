"""Summaries of kernels whose shape is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mmhyena.analysis.kernels import KernelSummary, summarize_kernels
from mmhyena.backbones import HyenaFormer
from mmhyena.layers import HyenaND


def test_energy_radius_and_shares_of_a_box():
    kernel = np.zeros((3, 31, 31))
    kernel[:, 12:19, 12:19] = 2.0  # 7 x 7 around the center
    summary = KernelSummary('conv', 0, kernel, causal=False)
    assert summary.energy.sum() == pytest.approx(1)
    assert summary.share_within(7) == pytest.approx(1) and summary.share_within(3) == pytest.approx(9 / 49)
    assert summary.radius() == pytest.approx(np.sqrt(2 * np.mean(np.arange(-3, 4) ** 2)))


def test_a_causal_kernel_begins_at_its_first_tap():
    kernel = np.zeros((2, 16))
    kernel[:, :2] = 1.0
    summary = KernelSummary('conv', None, kernel, causal=True)
    assert summary.share_within(3) == 1 and summary.radius() == pytest.approx(np.sqrt(0.5))


def test_channels_count_alike_and_the_strongest_come_first():
    kernel = np.zeros((2, 5, 5))
    kernel[0, 2, 2], kernel[1, 0, 0] = 100, 1
    summary = KernelSummary('conv', 0, kernel, causal=False)
    assert summary.energy[2, 2] == summary.energy[0, 0] == 0.5
    assert summary.strongest(2).tolist() == [0, 1]
    assert np.allclose(summary.spectrum()[0], 100)


def test_kernels_of_a_model_in_depth_order_and_at_other_sizes():
    model = HyenaFormer(arch='hpx_former_tiny')
    summaries = summarize_kernels(model)
    assert [summary.stage for summary in summaries] == [0, 0, 1, 1, 2, 2, 2, 2, 3, 3]
    assert summaries[0].kernel.shape == (32, 63, 63)
    mixer = nn.ModuleList([HyenaND(4, 7)])
    assert summarize_kernels(mixer)[0].kernel.shape == (4, 7, 7)
    assert summarize_kernels(mixer, (5, 9))[0].kernel.shape == (4, 5, 9)
    with pytest.raises(ValueError, match='no long convolutions'):
        summarize_kernels(nn.Linear(1, 1))
    torch.testing.assert_close(
        torch.from_numpy(summaries[0].kernel), model.stages[0][0].token_mixer.long_conv.kernel((16, 16)).detach()
    )


@pytest.mark.parametrize('cycles', [0, 0.125, 0.25])
def test_sum_norm_and_frequency_of_waves(cycles):
    wave = np.cos(2 * np.pi * cycles * np.arange(-32, 33))[None].repeat(2, 0)
    summary = KernelSummary('', 0, wave, causal=False)
    np.testing.assert_allclose(summary.sums(), wave.sum(1))
    np.testing.assert_allclose(summary.norms(), np.sqrt((wave**2).sum(1)))
    assert summary.frequency() == pytest.approx(cycles, abs=0.01)
