"""Far-context Shapes: figures that look alike, whose class is given by a mark far away.

Every image shows one or two discs, drawn from one distribution whatever their class, and a small mark elsewhere: a
figure of one of the five classes in its typical color. All discs are of the class of the mark; the mark itself belongs
to the background. All else is gray: the mark is easy to find and its class easy to tell (the mean color of an image
gives it), so that what is asked is who reaches it. Any pixel of a disc and any pixel of the mark are at least
:data:`FAR_GAP` pixels apart along one axis, so that the mark lies outside of every square of less than twice that side
around a disc's pixel.

The gap is set by the theoretical receptive field of a network of 7 x 7 convolutions that is read after two blocks at
stride 4, as in ``configs/shapes/segformer-s4_hpx-former-tiny_shapes-far-context.py``. From a feature it reaches 3
pixels in the 7 x 7 stem and 2 x 3 x 4 in the blocks; bilinear upsampling from stride 4 to the pixels adds less than 8.
What such a network says of a disc cannot depend on the mark. A network that is read after all four stages reaches 475
pixels, and a decoder or classifier with global pooling sees all of the image: for the classification images of this
variant the mark alone is enough, which makes them a control.
"""

from __future__ import annotations

import colorsys

import numpy as np

from mmhyena.datasets.shapes.figures import CLASSES, TYPICAL_HUE, Figure, random_figure
from mmhyena.datasets.shapes.scene import Canvas, Scene, image_rng

FAR_GAP = 40  # pixels between a figure and the mark, along the axis on which they are farther apart
FAR_MIN_SIDE = 96  # pixels; below that gap, figures and mark hardly fit in
SUBJECTS = (1, 2)  # fewest and most discs
SUBJECT_SIZE = (14.0, 22.0)  # pixels
MARK_SIZE = 14.0  # pixels
TRIES = 10_000

__all__ = ['FAR_GAP', 'FAR_MIN_SIDE', 'render_far_context']


def render_far_context(
    index: int,
    *,
    seed: int = 0,
    split: str = 'train',
    size: tuple[int, int] = (FAR_MIN_SIDE, FAR_MIN_SIDE),
    label: int | None = None,
) -> Scene:
    """Render image number ``index`` of the variant.

    Args:
        index: Number of the image in its split (and, with a ``label``, in its class), from 0.
        seed: Seed of the data set.
        split: ``'train'`` or ``'val'``.
        size: Height and width, pixels, at least :data:`FAR_MIN_SIDE`.
        label: Index of the class, as for classification; None draws one.

    Raises:
        ValueError: unknown split, or a side that is too short.
    """
    if min(size) < FAR_MIN_SIDE:
        raise ValueError(
            f'size is {size[0]}x{size[1]}; far-context images need {FAR_MIN_SIDE} pixels a side for '
            f'{FAR_GAP} between figures and mark'
        )
    if label is None:
        rng = image_rng(seed, split, index, 'far-context')
        label = int(rng.integers(len(CLASSES)))
    else:
        rng = image_rng(seed, split, index * len(CLASSES) + label, 'far-context single')
    canvas = Canvas(rng, split, size)
    mark, subjects = _layout(rng, label, size)
    for subject in subjects:
        canvas.paint(subject)
    canvas.remove_color()
    canvas.mark(mark, np.array(colorsys.hsv_to_rgb(TYPICAL_HUE[CLASSES[label]], 1.0, 0.95), dtype=np.float32))
    return canvas.finish(label)


def _layout(rng: np.random.Generator, label: int, size: tuple[int, int]) -> tuple[Figure, list[Figure]]:
    """Return the mark and the discs, all within the image and as far apart as :data:`FAR_GAP` wants."""
    count = int(rng.integers(SUBJECTS[0], SUBJECTS[1] + 1))
    for _ in range(TRIES):
        mark = random_figure(rng, CLASSES[label], MARK_SIZE, *_inside(rng, MARK_SIZE, size))
        sizes = rng.uniform(*SUBJECT_SIZE, count)
        subjects = [random_figure(rng, 'circle', side, *_inside(rng, side, size)) for side in sizes]
        if all(_gap(mark, subject) >= FAR_GAP for subject in subjects):
            return mark, subjects
    raise RuntimeError(f'no layout of {size[0]}x{size[1]} pixels was found in {TRIES} tries')


def _inside(rng: np.random.Generator, side: float, size: tuple[int, int]) -> tuple[float, float]:
    margin = 0.65 * side
    return rng.uniform(margin, size[1] - margin), rng.uniform(margin, size[0] - margin)


def _gap(one: Figure, other: Figure) -> float:
    """Return a lower bound of the pixels between two figures and their soft edges, along the better axis."""
    radii = one.radius * max(one.aspect, 1 / one.aspect) + other.radius * max(other.aspect, 1 / other.aspect)
    return float(max(abs(one.cx - other.cx), abs(one.cy - other.cy)) - radii - 2)
