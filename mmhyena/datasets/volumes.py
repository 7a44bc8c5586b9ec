"""Small volumes with one solid each, generated in memory, for classification with mmpretrain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset

from mmhyena.registry import DATASETS

__all__ = ['SolidVolumes']

# Whether a point, in units of the solid's size and turned into its axes, belongs to the solid.
_SOLIDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    'ball': lambda p: np.linalg.norm(p, axis=0) < 0.9,
    'shell': lambda p: np.abs(np.linalg.norm(p, axis=0) - 0.85) < 0.2,
    'cube': lambda p: np.abs(p).max(0) < 0.72,
    'rod': lambda p: (np.hypot(p[0], p[1]) < 0.35) & (np.abs(p[2]) < 1.3),
    'cross': lambda p: ((np.abs(p) < 0.27).sum(0) >= 2) & (np.abs(p).max(0) < 1.1),
}


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    return q * np.sign(np.diag(r))


def _draw(label: int, size: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Return a volume ``(size, size, size)`` with mean near 0 that holds one turned solid in noise."""
    radius = rng.uniform(0.25, 0.33) * size
    margin = min(1.2 * radius, (size - 1) / 2)
    center = rng.uniform(margin, size - 1 - margin, 3)
    points = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing='ij')) - center[:, None, None, None]
    points = np.tensordot(_random_rotation(rng), points, 1) / radius  # (3, size, size, size)
    solid = list(_SOLIDS.values())[label](points)
    return rng.uniform(0.7, 1.3) * solid + noise * rng.standard_normal(solid.shape)


@DATASETS.register_module()
class SolidVolumes(Dataset):
    """Volumes with a ball, a shell, a cube, a rod or a cross, in any place and any orientation, in noise.

    Samples are equally many for each class, the same for the same arguments, and drawn when first asked for.

    Args:
        num_samples: Number of volumes.
        size: Voxels on each axis.
        noise: Standard deviation of the noise; solids are about 1 and their surroundings 0.
        seed: Seed; give training and test different ones.

    Raises:
        ValueError: If there are no samples or the volumes are too small for the solids to differ.
    """

    METAINFO = {'classes': tuple(_SOLIDS)}

    def __init__(self, num_samples: int, size: int = 16, noise: float = 0.1, seed: int = 0) -> None:
        if num_samples < 1:
            raise ValueError(f'num_samples must be at least 1, got {num_samples}')
        if size < 8:
            raise ValueError(f'size must be at least 8 voxels, got {size}')
        self.num_samples, self.size, self.noise, self.seed = num_samples, size, noise, seed
        self.metainfo = dict(self.METAINFO)
        self._volumes: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> dict:
        """Return ``inputs`` ``(1, size, size, size)`` and ``data_samples`` with the label."""
        if not 0 <= index < self.num_samples:
            raise IndexError(f'index {index} is out of range for {self.num_samples} volumes')
        label = index % len(_SOLIDS)
        if index not in self._volumes:
            rng = np.random.default_rng((self.seed, index))
            volume = _draw(label, self.size, self.noise, rng)
            self._volumes[index] = torch.from_numpy(volume.astype(np.float32))[None]
        return dict(inputs=self._volumes[index], data_samples=DataSample().set_gt_label(label))
