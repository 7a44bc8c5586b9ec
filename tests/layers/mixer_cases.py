"""Token mixers for maps ``(B, 8, 8, 8)``, for tests of what all of them do."""

from __future__ import annotations

from mmhyena.layers import (
    Attention,
    BidirectionalHyena,
    HyenaND,
    HyenaPixel,
    LearnedMaskAttention,
    SepConv,
    WindowedMixer,
)

MIXERS = {
    'hyena_pixel': lambda: HyenaPixel(8, 15),
    'hyena_pixel_norm': lambda: HyenaPixel(8, 15, norm=True),
    'hyena_pixel_resized': lambda: HyenaPixel(8, 15, filter_resize=True),
    'bidirectional': lambda: BidirectionalHyena(8, 64),
    'nd': lambda: HyenaND(8, 8, order=3),
    'nd_four_way': lambda: HyenaND(8, 8, direction='four_way', filter='product'),
    'nd_parallel': lambda: HyenaND(8, 8, direction='parallel', filter='direct'),
    'attention': lambda: Attention(8, 4),
    'mask': lambda: LearnedMaskAttention(8, 6, num_heads=2),
    'sep_conv': lambda: SepConv(8),
    'windowed': lambda: WindowedMixer(8, dict(type='HyenaPixel', kernel_size=7), 4, block_index=1),
}
