"""Draw the figures of the page on long convolutions: python docs/scripts/figures.py [--out docs/images].

They are computed by the layers themselves, untrained and with a fixed seed. With --predictions FOLDER, the first eight
pictures that the quick start drew (outputs/quickstart) become the picture of the README.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from mmhyena.layers import HyenaND, HyenaPixel
from mmhyena.ops.geometry import axis_geometry, fast_fft_length

ROOT = Path(__file__).resolve().parents[2]
TAPS = 27


def draw_kernels(path: Path) -> None:
    """Draw what filter, window and their product look like for three channels of HyenaPixel."""
    torch.manual_seed(0)
    long_conv = HyenaPixel(64, TAPS).long_conv
    channels = (0, 20, 63)
    with torch.no_grad():
        filter = long_conv.filter((TAPS, TAPS))
        window = long_conv.window(torch.ones_like(filter))
    rows = {'filter': filter, 'window': window, 'kernel': filter * window}
    figure, axes = plt.subplots(len(rows), len(channels), figsize=(6, 6.4), layout='constrained')
    for line, (name, values) in zip(axes, rows.items()):
        for panel, channel in zip(line, channels):
            value = values[channel].numpy()
            limit = np.abs(value).max()
            panel.imshow(
                value, cmap='RdBu_r' if name != 'window' else 'viridis', vmin=None if name == 'window' else -limit
            )
            panel.set_xticks([0, TAPS // 2, TAPS - 1], [-(TAPS // 2), 0, TAPS // 2])
            panel.set_yticks([])
            panel.set_title(f'{name}, channel {channel}', fontsize=9)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_reach(path: Path) -> None:
    """Draw which inputs a pixel depends on: causal, alternating and centered kernels of one mixer."""
    side, pixel = 15, 7
    figure, axes = plt.subplots(1, 4, figsize=(8, 2.4), layout='constrained')
    mixers = {
        'causal': [HyenaND(8, side, direction='causal')],
        'alternating, two blocks': [
            HyenaND(8, side, direction=dict(type='AlternatingDirection', block_index=i)) for i in range(2)
        ],
        'four_way': [HyenaND(8, side, direction='four_way')],
        'HyenaPixel, centered': [HyenaPixel(8, 2 * side - 1)],
    }
    for panel, (name, blocks) in zip(axes, mixers.items()):
        torch.manual_seed(0)
        x = torch.randn(1, side, side, 8, dtype=torch.float64, requires_grad=True)
        y = x
        for block in blocks:
            y = block.double()(y)
        y[0, pixel, pixel].square().sum().backward()
        seen = x.grad[0].abs().sum(-1) > 1e-14
        panel.imshow(seen, cmap='Greens', vmin=0, vmax=1.4)
        panel.plot(pixel, pixel, 'ks', markersize=4)
        panel.set_title(name, fontsize=9)
        panel.set_xticks([])
        panel.set_yticks([])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_fft_lengths(path: Path) -> None:
    """Draw the length of the transform against the side of the feature map, for 111 taps."""
    sides = np.arange(8, 337)
    taps = 111
    figure, panel = plt.subplots(figsize=(6, 3.4), layout='constrained')
    axes = [axis_geometry(int(side), taps, False) for side in sides]
    needed = [side + max(axis.left, axis.right) for side, axis in zip(sides, axes)]
    panel.plot(sides, np.maximum(2 * sides, taps), color='tab:gray', label='max(2 h, k), the official code')
    panel.plot(sides, [fast_fft_length(int(n)) for n in needed], color='tab:green', label='mmhyena, a fast length')
    panel.plot(sides, needed, 'k:', label='needed: h + min(k // 2, h - 1)')
    panel.set(xlabel='side h of the feature map', ylabel='points on an axis', title=f'kernel of k = {taps} taps')
    panel.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_predictions(folder: Path, path: Path) -> None:
    """Put eight pictures into two rows, with fewer colors."""
    pictures = [Image.open(file).convert('RGB') for file in sorted(folder.glob('*.[jp][pn]g'))[:8]]
    if len(pictures) < 8:
        raise SystemExit(f'error: {folder} holds {len(pictures)} pictures, eight are needed: run tools/quickstart.sh')
    side, gap = 320, 10
    sheet = Image.new('RGB', (4 * (side + gap) - gap, 2 * (side + gap) - gap), 'white')
    for place, picture in enumerate(pictures):
        at = (place % 4 * (side + gap), place // 4 * (side + gap))
        sheet.paste(picture.resize((side, side), Image.Resampling.LANCZOS), at)
    sheet.quantize(256).save(path, optimize=True)


def main() -> None:
    """Draw all figures, or the picture of the README alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'docs/images', help='folder (default: docs/images)')
    parser.add_argument(
        '--predictions', type=Path, metavar='FOLDER', help='draw quickstart.png of these pictures alone'
    )
    args = parser.parse_args()
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    if args.predictions:
        draw_predictions(args.predictions, out / 'quickstart.png')
        return
    draw_kernels(out / 'kernels.png')
    draw_reach(out / 'reach.png')
    draw_fft_lengths(out / 'fft_lengths.png')


if __name__ == '__main__':
    main()
