"""Models as files that run without this package: ONNX, and programs of ``torch.export``.

The long kernels are constants of the file. Convolutions are real matrix products in ONNX, which has no complex numbers
(the ``dft`` backend of :mod:`mmhyena.ops`), and in a program of ``torch.export`` what is fastest on a CPU. Kernels are
made for one size of feature maps, so the image size is fixed; the batch size is dynamic on request.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.utils import digit_version
from torch import Tensor, nn

from mmhyena.apis.building import build_model
from mmhyena.apis.config import load_config
from mmhyena.apis.inference.tasks import find_dataset_meta
from mmhyena.apis.toolkits import use_toolkit
from mmhyena.apis.weights import load_weights
from mmhyena.checkpoints import read_checkpoint
from mmhyena.errors import UserError, one_line
from mmhyena.layers.kernel_cache import unlimited_kernel_cache
from mmhyena.ops import use_backend

__all__ = ['MAX_ERROR', 'ExportTarget', 'Exported', 'build_for_export', 'export_model', 'load_exported']

MAX_ERROR = 1e-4
"""Largest norm of the difference to torch, relative to the norm of the output, that is accepted."""

Runner = Callable[[Tensor], list[Tensor]]

SUFFIXES = ('.onnx', '.pt2')

MAX_ONNX_BYTES = 2**31 - 2**24
"""Of all constants: protocol buffers end at 2 GiB, and the graph takes some of it."""

MIN_TORCH = '2.6'
"""``torch.onnx.export`` takes programs of ``torch.export`` from this version on."""

_OUTPUTS = dict(
    classification='scores',
    segmentation='logits at the size of the image',
    detection='feature maps of backbone and neck',
)


@dataclass
class ExportTarget:
    """What is exported: ``module(image)`` with ``image`` ``(B, 3, H, W)`` gives a tuple of tensors.

    Attributes:
        module: In evaluation, without gradients.
        task: ``'classification'``, ``'segmentation'`` or ``'detection'``.
        metadata: Text to be written into the file: class names and how images are normalized.
    """

    module: nn.Module
    task: str
    metadata: dict[str, str]

    @property
    def outputs(self) -> str:
        """What the file gives."""
        return _OUTPUTS[self.task]


@dataclass(frozen=True)
class Exported:
    """A file that was written: its size in bytes and its largest error relative to torch, of all outputs."""

    file: Path
    size: int
    error: float


class _Classifier(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model  # of a toolkit

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the scores ``(B, classes)`` after softmax, or sigmoid for several labels per image."""
        logits: Any = self.model(image, mode='tensor')
        logits = logits[-1] if isinstance(logits, (tuple, list)) else logits
        several = type(self.model.head).__name__.startswith('MultiLabel')
        return (logits.sigmoid() if several else logits.softmax(dim=1),)


class _Segmentor(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model: Any = model  # of a toolkit

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the logits ``(B, classes, H, W)``."""
        logits = self.model(image, mode='tensor')
        align = self.model.align_corners
        return (nn.functional.interpolate(logits, image.shape[2:], mode='bilinear', align_corners=align),)


class _Features(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.backbone: Any = model.backbone
        self.neck: Any = getattr(model, 'neck', None)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps ``(B, C, h, w)`` from fine to coarse."""
        maps = self.backbone(image)
        return tuple(maps if self.neck is None else self.neck(maps))


_WRAPPERS = dict(classification=_Classifier, segmentation=_Segmentor, detection=_Features)


def build_for_export(config: str | Path, checkpoint: str | Path | None = None) -> ExportTarget:
    """Build the part of a model that can be exported.

    Args:
        config: Config file of a classifier, detector or segmentor.
        checkpoint: Its weights; None for random ones.

    Raises:
        UserError: If the config or the checkpoint is wrong, or the model takes more than an image.
    """
    cfg = load_config(config)
    task = use_toolkit(cfg).task
    model = build_model(cfg)
    weights = {} if checkpoint is None else read_checkpoint(checkpoint)
    if checkpoint is not None:
        load_weights(model, weights, checkpoint)
    if task == 'segmentation' and (
        not hasattr(model, 'decode_head') or hasattr(model.decode_head, 'transformer_decoder')
    ):
        raise UserError(f'{type(model).__name__} of {config} cannot be exported: its head gives no logits per pixel')
    module = _WRAPPERS[task](model).eval().requires_grad_(False)
    return ExportTarget(module, task, _metadata(cfg, task, weights))


def _metadata(cfg: Any, task: str, weights: Any) -> dict[str, str]:
    preprocessor = cfg.model.get('data_preprocessor') or {}
    to_rgb = preprocessor.get('to_rgb', preprocessor.get('bgr_to_rgb', False))
    classes = find_dataset_meta(cfg, weights).get('classes') or ()
    return dict(
        task=task,
        outputs=_OUTPUTS[task],
        classes=json.dumps(list(classes)),
        mean=json.dumps(list(preprocessor.get('mean') or (0, 0, 0))),
        std=json.dumps(list(preprocessor.get('std') or (1, 1, 1))),
        channel_order='RGB' if to_rgb else 'BGR',
        layout='NCHW',
    )


def export_model(
    target: ExportTarget, file: str | Path, shape: Sequence[int], dynamic_batch: bool = False, seed: int = 0
) -> Exported:
    """Write a model to a file, and compare the file with torch on random images.

    Args:
        target: The model.
        file: ``FILE.onnx``, or ``FILE.pt2`` for a program of ``torch.export``.
        shape: Height and width of the image.
        dynamic_batch: Whether the file takes any number of images; one otherwise.
        seed: Of the random images.

    Returns:
        What was written.

    Raises:
        UserError: If a package is missing, the image is too small, the model cannot be exported, or the file differs
            from torch by more than :data:`MAX_ERROR`.
    """
    path = Path(file)
    if path.suffix not in SUFFIXES:
        raise UserError(f'{file}: the name must end in {" or ".join(SUFFIXES)}')
    _check_packages(path.suffix)
    generator = torch.Generator().manual_seed(seed)
    # Two images where the batch is dynamic: torch.export takes a size of 1 for a constant.
    image = torch.randn(1 + dynamic_batch, 3, *shape, generator=generator)
    probe = torch.randn(1 + 2 * dynamic_batch, 3, *shape, generator=generator)
    # Beside the file, which is replaced only by a right one.
    unchecked = path.with_name(f'.{path.stem}.unchecked{path.suffix}')
    try:
        backend = use_backend('dft') if path.suffix == '.onnx' else nullcontext()
        with torch.no_grad(), unlimited_kernel_cache(), backend, _quiet():
            expected = target.module(probe)  # makes the kernels, which the file takes as constants
            _write(_export(target.module, image, dynamic_batch), unchecked, target.metadata)
        worst = max(map(_relative_error, load_exported(unchecked)(probe), expected))
        if not worst <= MAX_ERROR:
            raise UserError(
                f'{file} would differ from torch by a relative error of {worst:.1e}, above {MAX_ERROR:g}: not written'
            )
        unchecked.replace(path)
    except (RuntimeError, ValueError) as error:
        raise UserError(f'the model cannot be exported at {shape[0]} x {shape[1]}: {one_line(error)}') from error
    finally:
        unchecked.unlink(missing_ok=True)
    return Exported(path, path.stat().st_size, worst)


def load_exported(file: str | Path, threads: int | None = None) -> Runner:
    """Return a function that maps an image ``(B, 3, H, W)`` to the outputs of an exported file, on the CPU.

    Args:
        file: A file of :func:`export_model`.
        threads: Threads of onnxruntime; None for as many as torch uses.

    Raises:
        UserError: By the function, if the file was made for another size of image, or for one image.
    """
    if Path(file).suffix == '.pt2':
        with _quiet():
            program = torch.export.load(file)
            module = program.module()
        (name,) = program.graph_signature.user_inputs
        (shape,) = [node.meta['val'].shape for node in program.graph.nodes if node.name == name]
        return _sized(file, shape, lambda image: list(module(image)))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
    (entry,) = session.get_inputs()
    return _sized(
        file,
        entry.shape,
        lambda image: [torch.from_numpy(output) for output in session.run(None, {'image': image.numpy()})],
    )


def _sized(file: str | Path, shape: Sequence[Any], run: Runner) -> Runner:
    """Refuse images of another shape than ``shape``, whose dynamic entries are no integers, in one line."""

    def checked(image: Tensor) -> list[Tensor]:
        wanted, got = [' x '.join(map(str, entries)) for entries in (shape[2:], image.shape[2:])]
        if wanted != got:
            raise UserError(f'{file} takes images of {wanted}, got {got}: export it for that size')
        if isinstance(shape[0], int) and shape[0] != len(image):
            raise UserError(f'{file} takes {shape[0]} image, got {len(image)}: export it with a dynamic batch')
        return run(image)

    return checked


def _relative_error(value: Tensor, expected: Tensor) -> float:
    if value.shape != expected.shape:
        return float('inf')
    return float((value - expected).norm() / expected.norm().clamp(min=1e-12))


def _check_packages(suffix: str) -> None:
    if digit_version(torch.__version__) < digit_version(MIN_TORCH):
        raise UserError(
            f'export needs torch {MIN_TORCH} or newer, found {torch.__version__}: use the OneDL distribution'
        )
    for name in ('onnx', 'onnxruntime', 'onnxscript') if suffix == '.onnx' else ():
        if importlib.util.find_spec(name) is None:
            raise UserError(f"export to ONNX needs {name}, which is not installed: pip install 'mmhyena[export]'")


def _export(module: nn.Module, image: Tensor, dynamic_batch: bool) -> Any:
    shapes = {'image': {0: torch.export.Dim('batch')}} if dynamic_batch else None
    try:
        return torch.export.export(module, (image,), dynamic_shapes=shapes, strict=False)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError) as error:
        # Code of a toolkit that cannot be traced fails in one of these ways; what torch refuses is a RuntimeError.
        raise UserError(f'the model cannot be traced: {type(error).__name__}: {one_line(error)}') from error


def _write(program: Any, path: Path, metadata: dict[str, str]) -> None:
    if path.suffix == '.pt2':
        torch.export.save(program, path, extra_files={'metadata.json': json.dumps(metadata)})
        return
    import onnx

    written = torch.onnx.export(program, (), dynamo=True, input_names=['image'], verbose=False)
    model: Any = written.model  # type: ignore[union-attr]
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    if size > MAX_ONNX_BYTES:
        raise UserError(
            f'weights and kernels take {size / 2**30:.1f} GiB, and an ONNX file holds at most 2: '
            'export a smaller image, or name a file that ends in .pt2'
        )
    model.metadata_props.update(metadata)
    written.save(path, external_data=False)  # type: ignore[union-attr]
    onnx.checker.check_model(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep notes and warnings of the exporter about itself from the screen."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels):
            logger.setLevel(level)
