"""Pictures of all predictions of a test, in folders as those of the images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmhyena.registry import HOOKS

__all__ = ['DrawPredictionsHook']


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draws the prediction on every test image with the toolkit's visualizer.

    The hooks of the toolkits name a picture by its image's name alone, so that images of one name from several folders
    overwrite each other.

    Args:
        out_dir: Where the pictures go.
        score_thr: Detected objects with a lower score are left out.
    """

    priority = 'NORMAL'

    def __init__(self, out_dir: str, score_thr: float = 0.3) -> None:
        self.out_dir, self.score_thr = Path(out_dir), score_thr
        self._drawn: set[Path] = set()
        self._root = ''

    def before_test(self, runner: Runner) -> None:
        """Find the folder that holds all images."""
        dataset = runner.test_dataloader.dataset
        if hasattr(dataset, 'get_data_info'):
            paths = (dataset.get_data_info(i).get('img_path') for i in range(len(dataset)))
            folders = {os.path.dirname(os.path.abspath(path)) for path in paths if path}
            self._root = os.path.commonpath(folders) if folders else ''

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """Draw the images of one batch."""
        visualizer = Visualizer.get_current_instance()
        for sample in outputs or ():
            path = sample.get('img_path', None)
            if path is None:
                continue
            image = mmcv.imfrombytes(get(path), channel_order='rgb')
            file = self._target(str(path))
            file.parent.mkdir(parents=True, exist_ok=True)
            if hasattr(visualizer, 'visualize_cls'):
                visualizer.visualize_cls(image, sample, out_file=str(file), name=file.stem)
            else:
                options = {} if 'pred_sem_seg' in sample else {'pred_score_thr': self.score_thr}
                visualizer.add_datasample(file.stem, image, data_sample=sample, out_file=str(file), **options)

    def _target(self, path: str) -> Path:
        """Return the file of an image's picture: below ``out_dir`` as the image lies below the folder of all."""
        relative = os.path.relpath(path, self._root) if self._root else os.path.basename(path)
        file = (self.out_dir / relative).with_suffix('.png')
        if file in self._drawn:  # a.jpg and a.png
            file = file.with_name(f'{Path(path).name}.png')
        self._drawn.add(file)
        return file
