"""Figures of what the analysis finds, independent of any window system and of pyplot's global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmhyena.analysis.kernels import KernelSummary

__all__ = ['kernel_figure', 'to_picture']


def kernel_figure(summaries: Sequence[KernelSummary], channels: int = 4, title: str = '') -> Figure:
    """Draw one row per layer: the taps of the kernels with the largest norms, then their spectra.

    Args:
        summaries: From :func:`~mmhyena.analysis.kernels.summarize_kernels`.
        channels: Kernels drawn per layer.
        title: Written above all.
    """
    figure = Figure(figsize=(1.25 * 2 * channels, 1.35 * len(summaries) + 0.4))
    axes = figure.subplots(len(summaries), 2 * channels, squeeze=False)
    for row, summary in zip(axes, summaries):
        chosen, spectra = summary.strongest(channels), summary.spectrum()
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
        for axis, channel in zip(row, chosen):
            _show(axis, summary.kernel[channel], 'RdBu_r')
        for axis, channel in zip(row[channels:], chosen):
            _show(axis, np.log1p(spectra[channel]), 'magma')
        size = 'x'.join(map(str, summary.kernel.shape[1:]))
        row[0].set_ylabel(f'{_short(summary.name)}\n{size}', fontsize=8)
    axes[0][0].set_title('taps', fontsize=10, loc='left')
    axes[0][channels].set_title('log spectrum', fontsize=10, loc='left')
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    return figure


def to_picture(figure: Figure, dpi: float = 130) -> np.ndarray:
    """Return a figure as RGB (H, W, 3), uint8."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _short(name: str) -> str:
    """Return a module's name without what all long convolutions share."""
    return name.replace('backbone.', '').replace('.token_mixer.long_conv', '')


def _show(axis: Any, values: np.ndarray, colors: str) -> None:
    """Draw a kernel of one axis as a curve, of two as an image, of three as its middle slice."""
    if values.ndim == 1:
        axis.plot(values, lw=0.8)
        return
    image = values if values.ndim == 2 else values[len(values) // 2]
    limit = np.abs(image).max() or 1.0
    axis.imshow(image, cmap=colors, vmin=-limit if image.min() < 0 else 0, vmax=limit)
