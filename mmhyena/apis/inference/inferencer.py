"""Inference for all three tasks: files, arrays, PIL images, tensors or videos in, typed results out."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.device import get_device

from mmhyena.apis.amp import use_bfloat16
from mmhyena.apis.building import build_model
from mmhyena.apis.checks.building import config_errors
from mmhyena.apis.config import load_config
from mmhyena.apis.fusing import fuse_for_inference
from mmhyena.apis.inference.images import MAX_PIXELS, ImageLike, list_images, to_bgr
from mmhyena.apis.inference.results import Result
from mmhyena.apis.inference.tasks import TASK_INFERENCERS, ModelInput, find_dataset_meta
from mmhyena.apis.inference.video import Frame, Video, is_video
from mmhyena.apis.model_index import IndexedModel, find_model, read_weights
from mmhyena.apis.toolkits import use_toolkit
from mmhyena.apis.weights import load_weights
from mmhyena.checkpoints import read_checkpoint
from mmhyena.errors import UserError

__all__ = ['Inferencer']


class Inferencer:
    """Run a classifier, detector or segmentor on images, on top of the toolkit's own inferencer.

    Args:
        model: Config file the model was trained with, or its name in the model index.
        checkpoint: File or URL of weights, as weights only; every tensor has to fit. Official classifiers are
            converted, with a report in the log. None takes the weights that the model index names.
        device: 'cpu', 'cuda', 'cuda:1', ...; None takes an accelerator if there is one.
        fuse: Whether to fuse the model on a CPU, see :func:`mmhyena.apis.fuse_for_inference`.
        max_pixels: Larger images are refused.
        amp: Whether to run under bfloat16 autocast, see :func:`mmhyena.apis.amp.use_bfloat16`.

    Raises:
        UserError: If the config, the checkpoint or the device is not usable.

    Attributes:
        task: 'detection', 'segmentation' or 'classification'.
        classes: Class names.
        model: The model, on its device, in evaluation mode.

    Examples:
        >>> inferencer = Inferencer('configs/shapes/upernet_hpx-former-tiny_shapes.py', 'work_dirs/.../iter_1000.pth')
        >>> (result,) = inferencer('street.jpg')
        >>> result.class_map.shape, result.shares, inferencer.draw(result)
    """

    def __init__(
        self,
        model: str | Path,
        checkpoint: str | Path | None = None,
        device: str | None = None,
        fuse: bool = True,
        max_pixels: int = MAX_PIXELS,
        amp: bool = False,
    ) -> None:
        if max_pixels < 1:
            raise UserError(f'max_pixels must be at least 1, got {max_pixels}')
        self.max_pixels = max_pixels
        device = _check_device(device)
        entry = _resolve(model)
        weights = read_weights(entry) if checkpoint is None else read_checkpoint(checkpoint)
        cfg = load_config(entry.config)
        self.task = use_toolkit(cfg).task
        meta = find_dataset_meta(cfg, weights)
        built = build_model(cfg)
        load_weights(built, weights, checkpoint or entry.weights or entry.name)
        self.model = built.to(device).eval()
        if fuse and torch.device(device).type == 'cpu':
            fuse_for_inference(self.model)
        if amp:
            use_bfloat16(self.model, device)
        with config_errors(cfg):
            self._inferencer = TASK_INFERENCERS[self.task](cfg, self.model, meta)
        self.classes = self._inferencer.classes

    def __call__(self, images: ImageLike | Iterable[ImageLike], batch_size: int = 1) -> list[Result]:
        """Return one result per image, in order.

        Args:
            images: One image or several: a file name, an array (H, W, 3) in uint8 BGR as OpenCV and OpenMMLab have
                it, a tensor (3, H, W) in RGB, uint8 or in [0, 1], or a PIL image; see
                :func:`~mmhyena.apis.inference.images.to_bgr` for gray images and others. All forms of one image give
                the same result.
            batch_size: Images per forward pass. Images of unequal size are padded to the largest of their batch, as
                in the toolkits; that changes what a global operator sees, so results may differ a little from those
                of one image at a time.
        """
        return list(self.stream(images, batch_size))

    def stream(
        self,
        images: ImageLike | Video | Iterable[ImageLike | Frame],
        batch_size: int = 1,
        skipped: Callable[[Any, UserError], None] | None = None,
    ) -> Iterator[Result]:
        """Yield results lazily, in order, batch by batch; see :meth:`__call__`.

        No more than one batch is read ahead, so that videos and generators of any length need bounded memory.

        Args:
            images: As in :meth:`__call__`; also a video: its file name, or a
                :class:`~mmhyena.apis.inference.video.Video` for a camera or part of a file.
            batch_size: Images per forward pass.
            skipped: Called with each image that cannot be used and the reason, after which the next image is taken. By
                default the reason is raised.

        Examples:
            >>> for result in inferencer.stream('street.mp4', batch_size=4):
            ...     picture = inferencer.draw(result)
        """
        if not isinstance(batch_size, numbers.Integral) or isinstance(batch_size, bool) or batch_size < 1:
            raise UserError(f'the batch size must be a whole number and at least 1, got {batch_size!r}')
        listed: Iterable[ImageLike | Frame] = Video(images) if is_video(images) else list_images(images)
        waiting = self._read(listed, skipped)
        while chunk := list(islice(waiting, int(batch_size))):
            samples = self._inferencer.predict([array for _, array in chunk])
            for (image, array), sample in zip(chunk, samples):
                origin: dict[str, Any] = {}
                if isinstance(image, Frame):
                    origin = dict(source=image.source, frame=image.index, seconds=image.seconds)
                elif isinstance(image, (str, Path)):
                    origin = dict(source=str(image))
                yield self._inferencer.result(sample, image=array, **origin)

    def _read(
        self, images: Iterable[ImageLike | Frame], skipped: Callable[[Any, UserError], None] | None
    ) -> Iterator[tuple[ImageLike | Frame, np.ndarray]]:
        """Yield images and their pixels."""
        for image in images:
            try:
                array = to_bgr(image.image if isinstance(image, Frame) else image, self.max_pixels)
                self._inferencer.check_size(image, array)
            except UserError as error:
                if skipped is None:
                    raise
                skipped(image, error)
                continue
            yield image, array

    def prepare(self, image: ImageLike) -> ModelInput:
        """Return what the model gets for one image: the normalized tensor, and the same as a picture.

        Args:
            image: In any of the forms of :meth:`__call__`.

        Raises:
            UserError: If the image is not usable.
        """
        ((_, array),) = self._read([image], None)
        return self._inferencer.prepare(array)

    def draw(self, result: Result, score_thr: float = 0.3, opacity: float = 0.45, top_k: int = 5) -> np.ndarray:
        """Draw a result on its image, at the size of the image.

        Args:
            result: One of this object's results.
            score_thr: Detected objects with a lower score are left out.
            opacity: Of masks and label maps, from 0 to 1.
            top_k: Number of the most likely classes of a classifier that are written.

        Returns:
            RGB (H, W, 3), uint8.

        Raises:
            UserError: If an option is out of range.
        """
        if not 0 <= opacity <= 1:
            raise UserError(f'opacity must be from 0 to 1, got {opacity}')
        return self._inferencer.draw(result, score_thr=score_thr, opacity=opacity, top_k=top_k)


def _resolve(model: str | Path) -> IndexedModel:
    """Return the config and perhaps the weights that ``model`` stands for."""
    path = Path(model)
    return IndexedModel(path.stem, path) if path.suffix == '.py' or path.is_file() else find_model(str(model))


def _check_device(device: str | None) -> str:
    if device is None:
        return get_device()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"device '{device}' is not usable: {reason}") from error
    return device
