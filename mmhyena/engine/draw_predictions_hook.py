"""Pictures of all predictions of a test, in folders as those of the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from mmhyena.registry import HOOKS
from mmhyena.utils.output_names import output_names

__all__ = ['DrawPredictionsHook']


@HOOKS.register_module()
class DrawPredictionsHook(Hook):
    """Draws the prediction on every test image, beside the ground truth if the test pipeline loads it.

    The toolkits' hooks name a picture after the image's base name, so that images of the same name in several folders
    overwrite one another. The toolkits' visualizers draw what :func:`mmhyena.visualization.draw_sample` does not:
    panoptic predictions.

    Args:
        out_dir: Where the pictures go.
        score_thr: Detected objects with a lower score are left out.

    Raises:
        UserError: If a picture would replace one of the images.
    """

    priority = 'NORMAL'

    def __init__(self, out_dir: str, score_thr: float = 0.3) -> None:
        self.out_dir, self.score_thr = Path(out_dir), score_thr
        self._targets: dict[str, Path] = {}

    def before_test(self, runner: Runner) -> None:
        """Name the pictures of all images, alike in every process."""
        dataset = runner.test_dataloader.dataset
        if hasattr(dataset, 'get_data_info'):
            paths = (dataset.get_data_info(i).get('img_path') for i in range(len(dataset)))
            self._targets = output_names([str(path) for path in paths if path], self.out_dir, '--show-dir')

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence | None = None
    ) -> None:
        """Draw the images of one batch."""
        import mmcv  # installed with every toolkit, and not needed by the other hooks

        from mmhyena.visualization import draw_sample

        visualizer = Visualizer.get_current_instance()
        for sample in outputs or ():
            path = sample.get('img_path', None)
            if path is None:
                continue
            image = mmcv.imfrombytes(get(path), channel_order='rgb')
            file = self._target(str(path))
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = draw_sample(image, sample, visualizer.dataset_meta or {}, self.score_thr)
            if picture is None:
                options = dict(data_sample=sample, out_file=str(file), pred_score_thr=self.score_thr)
                visualizer.add_datasample(file.stem, image, **options)
            else:
                mmcv.imwrite(picture[..., ::-1], str(file))

    def _target(self, path: str) -> Path:
        """Return the file of an image's picture: below ``out_dir`` as the image lies below the folder of all."""
        target = self._targets.get(path, self.out_dir / Path(path).stem)
        return target.with_name(f'{target.name}.png')
