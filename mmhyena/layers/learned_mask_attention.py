"""Attention with a learned low-rank mask over pairs of positions (IBiT)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod

import numpy as np
import torch
from torch import Tensor, nn

from mmhyena.layers.filters.resample import resample
from mmhyena.layers.token_mixer import TokenMixer
from mmhyena.ops import constant
from mmhyena.registry import MODELS

__all__ = ['LearnedMaskAttention', 'mask_target', 'roll_index']


def roll_index(map_size: int | Sequence[int], class_token: bool = True, roll: str = 'aligned') -> Tensor:
    """Return the column of the stored matrix that holds each entry of the mask, ``(N, N)``.

    Row ``i`` is stored relative to its own patch: patch ``j`` is in column ``(j - i) mod patches``, after the column of
    the class token if there is one (arXiv 2509.22719, section 3). The published code, and so the published runs, ignore
    that column when they roll the rows back; ``roll='official'`` does the same.

    Args:
        map_size: Number of patches, or patches on each axis.
        class_token: Whether a class token precedes the patches; its row and column are stored as they are.
        roll: ``'aligned'`` or ``'official'``.

    Raises:
        ValueError: If the official code has no roll for such a grid: it fails if there are more rows than columns.
    """
    axes = (map_size,) if isinstance(map_size, int) else tuple(map_size)
    return _roll_index(class_token, roll == 'official', *axes, device=torch.device('cpu'))


@constant
def _roll_index(class_token: bool, official: bool, *map_size: int) -> np.ndarray:
    patches = prod(map_size)
    place = np.arange(patches)
    shift = _official_shift(map_size) if official and len(map_size) > 1 else place
    index = (place - shift[:, None]) % patches  # (patches, patches)
    if not class_token:
        return index
    index = np.pad(index if official else index + 1, ((0, 0), (1, 0)))  # (patches, N)
    return np.concatenate([np.arange(patches + 1)[None], index])


def _official_shift(map_size: Sequence[int]) -> np.ndarray:
    """Return by how many columns the published code rolls each row, ``(patches,)``.

    On an ``(H, W)`` grid it looks up row ``i * H + j`` for the patch at ``(i, j)``, which is the patch's own row on
    square grids only: on wider ones some rows are rolled several times and others never.
    """
    if len(map_size) != 2 or map_size[0] > map_size[1]:
        raise ValueError(f"roll='official' needs a map of two axes that is not higher than wide, got {tuple(map_size)}")
    height, width = map_size
    shift = np.zeros(height * width, dtype=np.int64)
    row, column = np.divmod(np.arange(height * width), width)
    np.add.at(shift, row * height + column, row * width + column)
    return shift


def mask_target(map_size: Sequence[int], class_token: bool = True) -> Tensor:
    """Return the stored matrix of the initial mask ``exp(-0.5 * distance in patches)``, ``(N, N)`` in float64.

    The row and the column of the class token are 1.
    """
    places = [torch.arange(size, dtype=torch.float64, device='cpu') for size in map_size]
    points = torch.cartesian_prod(*places).view(prod(map_size), len(map_size))
    mask = torch.exp(-0.5 * torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist'))
    place = torch.arange(len(points), device='cpu')
    stored = mask.gather(1, (place + place[:, None]) % len(points))  # the inverse of the aligned roll
    return torch.nn.functional.pad(stored, (1, 0, 1, 0), value=1.0) if class_token else stored


@lru_cache(maxsize=16)
def _mask_factors(map_size: tuple[int, ...], rank: int, class_token: bool) -> tuple[Tensor, Tensor]:
    """Return the best factors ``(rank, N)`` of the target, its truncated SVD with the singular values split equally.

    The result is cached, hence always on the CPU, also where a model is built under another default device.
    """
    u, s, vh = torch.linalg.svd(mask_target(map_size, class_token))
    root = s[:rank].sqrt()[:, None]
    return (root * u[:, :rank].T).float(), (root * vh[:rank]).float()


@constant
def _same_offsets(size: int, new: int) -> np.ndarray:
    """Return the trained pair (query, key) that replaces each pair on an axis of ``new`` patches.

    The trained pair has the same offset, clipped to the trained offsets, and a query as close as possible to the
    relative position of the new one.

    Returns:
        Positions of the queries and of the keys, ``(2, new, new)``.
    """
    place = np.arange(new)
    offset = (place - place[:, None]).clip(1 - size, size - 1)
    query = np.round(place * ((size - 1) / max(new - 1, 1))).astype(np.int64)[:, None]
    query = np.minimum(np.maximum(query, -offset), size - 1 - offset)
    return np.stack([query, query + offset])


@MODELS.register_module()
class LearnedMaskAttention(TokenMixer):
    """Attention whose scores are multiplied by a learned mask over positions (IBiT, arXiv 2509.22719, section 3).

    There is one mask ``M`` over all pairs of tokens per head, stored as two factors ``(rank, N)`` in a layout relative
    to each query, in which a local mask has a low rank. With ``S = q k^T / sqrt(head_dim)``:

    - ``normalization='frobenius'``, as published: ``P = S * M / (|S * M|_F + 1e-8)``, without a softmax. The norm is
      taken over all pairs of a head, so outputs shrink as the feature map grows.
    - ``normalization='softmax'``, ours: ``P = softmax(S) * M``, each row divided by the sum of its magnitudes. For a
      positive mask this is ``softmax(S + log M)``; negative entries keep their sign. A row does not depend on the
      number of other queries.

    For a grid of another size, square or not, the mask is rebuilt from the trained one: a pair of patches gets the
    entry of the trained pair with the same offset whose query has, on each axis, the closest relative position.
    Offsets beyond the trained ones get the largest trained one. The class token's row and column are resampled.

    Args:
        channels: Number of channels C.
        map_size: Patches on each axis of the grid that the mask is made for, one integer for both axes or one for each.
        num_heads: Number of heads.
        rank: Rank of the stored mask.
        roll: ``'aligned'``, or ``'official'`` for published weights, see :func:`roll_index`.
        normalization: ``'frobenius'`` or ``'softmax'``.
        class_token: Whether the first token is a class token; inputs are then ``(B, 1 + H * W, C)``.
        qkv_bias: Whether queries, keys and values have a bias.

    Raises:
        ValueError: If an argument is not one of the above.
    """

    def __init__(
        self,
        channels: int,
        map_size: int | Sequence[int] = 14,
        num_heads: int = 3,
        rank: int = 9,
        roll: str = 'aligned',
        normalization: str = 'frobenius',
        class_token: bool = False,
        qkv_bias: bool = True,
    ) -> None:
        super().__init__()
        self.map_size = (map_size,) * 2 if isinstance(map_size, int) else tuple(map_size)
        tokens = prod(self.map_size) + class_token
        if channels % num_heads:
            raise ValueError(
                f'LearnedMaskAttention needs channels to be a multiple of num_heads, got {channels}, {num_heads}'
            )
        if roll not in ('aligned', 'official'):
            raise ValueError(f"roll must be 'aligned' or 'official', got {roll!r}")
        if normalization not in ('frobenius', 'softmax'):
            raise ValueError(f"normalization must be 'frobenius' or 'softmax', got {normalization!r}")
        if not 1 <= rank <= tokens:
            raise ValueError(f'rank must be 1 to {tokens}, the number of tokens, got {rank}')
        roll_index(self.map_size, class_token, roll)  # raises where the official roll does not exist
        self.num_heads, self.roll, self.normalization, self.class_token = num_heads, roll, normalization, class_token
        self.accepts_class_token = class_token
        rows, columns = _mask_factors(self.map_size, rank, class_token)
        self.mask_rows = nn.Parameter(rows.repeat(num_heads, 1, 1))  # (heads, rank, N)
        self.mask_columns = nn.Parameter(columns.repeat(num_heads, 1, 1))
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)

    def prepare(self, spatial: Sequence[int]) -> Tensor:
        """Return the differentiable mask ``(heads, N, N)`` for a grid of ``spatial`` patches."""
        stored = self.mask_rows.transpose(1, 2) @ self.mask_columns  # (heads, N, N)
        index = _roll_index(self.class_token, self.roll == 'official', *self.map_size, device=stored.device)
        mask = stored.gather(2, index.expand_as(stored))
        return mask if tuple(spatial) == self.map_size else self._rebuild(mask, tuple(spatial))

    def _rebuild(self, mask: Tensor, spatial: tuple[int, ...]) -> Tensor:
        """Return the mask of another grid, rebuilt from ``mask`` ``(heads, N, N)``."""
        if len(spatial) != len(self.map_size) or min(spatial) < 1:
            raise ValueError(
                f'LearnedMaskAttention is built for a grid of {len(self.map_size)} axes, got a map of {spatial}'
            )
        first, axes = int(self.class_token), len(spatial)
        pairs = mask[:, first:, first:].reshape(-1, *self.map_size, *self.map_size)  # (heads, *grid, *grid)
        for axis, (size, new) in enumerate(zip(self.map_size, spatial), start=1):
            query, key = _same_offsets(size, new, device=mask.device)
            # Both of the axis' dimensions to the front, where indexing with two tensors puts its result.
            pairs = pairs.movedim((axis, axis + axes), (0, 1))[query, key]
            pairs = pairs.movedim((0, 1), (axis, axis + axes))
        patches = pairs.reshape(-1, prod(spatial), prod(spatial))
        if not self.class_token:
            return patches
        row = resample(mask[:, 0, 1:].unflatten(-1, self.map_size), spatial).flatten(1)  # (heads, patches)
        column = resample(mask[:, 1:, 0].unflatten(-1, self.map_size), spatial).flatten(1)
        top = torch.cat([mask[:, :1, :1], row[:, None]], dim=2)  # (heads, 1, N)
        return torch.cat([top, torch.cat([column[..., None], patches], dim=2)], dim=1)

    def _mask_for(self, x: Tensor) -> Tensor:
        if not self.class_token:
            return self.prepare(x.shape[1:-1])
        if x.dim() != 3 or x.shape[1] != 1 + prod(self.map_size):
            raise ValueError(
                f'LearnedMaskAttention expects (B, {1 + prod(self.map_size)}, C), class token first, got '
                f'{tuple(x.shape)}; pass the mask of prepare((H, W)) with tokens of another grid'
            )
        return self.prepare(self.map_size)

    def forward(self, x: Tensor, prepared: Tensor | None = None) -> Tensor:
        """Mix ``x`` ``(B, *spatial, C)``, or ``(B, 1 + H * W, C)`` with a class token.

        Args:
            x: The tokens.
            prepared: Mask returned by :meth:`prepare`. With a class token it is required for every grid but the one of
                ``map_size``, since the tokens do not tell its shape.
        """
        mask = self._mask_for(x) if prepared is None else prepared
        qkv = self.qkv(x.flatten(1, -2)).unflatten(-1, (3, self.num_heads, -1))  # (B, N, 3, heads, head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (B, heads, N, head_dim)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)  # (B, heads, N, N)
        wide = torch.promote_types(scores.dtype, torch.float32)
        if self.normalization == 'frobenius':
            weights = scores * mask
            # In float32 at least: the squares of half-precision scores overflow.
            norm = torch.linalg.matrix_norm(weights.to(wide), keepdim=True) + 1e-8
        else:
            weights = scores.softmax(-1) * mask
            norm = weights.to(wide).abs().sum(-1, keepdim=True) + 1e-8
        y = (weights / norm).to(v.dtype) @ v  # (B, heads, N, head_dim)
        return self.proj(y.transpose(1, 2).flatten(2)).view_as(x)
