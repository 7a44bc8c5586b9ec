"""Shapes: a small, self-contained data set for detection, segmentation and classification.

Flat, shaded and textured figures (circle, ring, square, star, triangle) lie over one another on crops of photographs
that scikit-image carries in its wheel. Every image is a pure function of ``(seed, split, index, size)``: neither the
order in which images are drawn nor the number of processes changes a pixel. Training and validation images take their
backgrounds from disjoint parts of each photograph.

One call writes all formats at once::

    from mmhyena.datasets.shapes import generate_shapes

    generate_shapes('data/shapes', train=1200, val=150, size=160, seed=0)

or, from the shell, ``python tools/dataset_converters/shapes.py --out data/shapes --train 1200 --val 150 --size 160``.

Tree::

    data/shapes
    |-- manifest.json                          parameters, counts, and whether the tree is complete
    |-- train/000000.jpg ...                   images
    |-- val/000000.jpg ...
    |-- annotations
    |   |-- instances_{train,val}.json         COCO instances, masks as RLE (rings have holes), category ids 1 .. 5
    |   |-- panoptic_{train,val}.json          COCO panoptic: figures are things, the background is stuff, id 6
    |   |-- panoptic_{train,val}/000000.png    segment ids
    |   |-- {training,validation}/000000.png   ADE20K-style label maps
    |-- images/{training,validation}           the same images under ADE20K's names (hard links)
    `-- classification
        `-- {train,val}/<class>/<class>_000000.jpg  ImageNet-style folders: one figure in the center, 64 x 64 by default

Labels: classes are in alphabetical order, so that label ``i`` (from 0) means the same in all three tasks. COCO category
ids are ``i + 1``. Label maps follow ADE20K with ``reduce_zero_label=True``: 0 is "not labelled" (it never occurs here),
1 is the background and ``i + 2`` is class ``i``; after the reduction a segmentor sees :data:`SEG_CLASSES`, background
first. Read them with mmdet's ``CocoDataset``, mmseg's ``BaseSegDataset`` (``metainfo=dict(classes=SEG_CLASSES)``,
``reduce_zero_label=True``) and mmpretrain's ``CustomDataset``.

Masks hold the visible pixels only: where figures overlap, the later one wins, and what lies outside the image is not
counted. A figure is placed only where it and every earlier one keep at least ``MIN_VISIBLE_FRACTION`` of their pixels
(and ``MIN_VISIBLE_PIXELS`` of them), so no unlabelled scrap is left over and every instance has ``iscrowd`` 0.

``variant='far-context'`` writes the same tree for a data set in which what decides lies far away, see
:mod:`mmhyena.datasets.shapes.far_context`.
"""

from mmhyena.datasets.shapes.far_context import FAR_GAP, render_far_context
from mmhyena.datasets.shapes.figures import CLASSES, PALETTE, SEG_CLASSES, SEG_PALETTE
from mmhyena.datasets.shapes.scene import (
    MIN_VISIBLE_FRACTION,
    MIN_VISIBLE_PIXELS,
    SPLITS,
    Scene,
    render_scene,
    render_single,
)
from mmhyena.datasets.shapes.writer import DEFAULT_CLS_SIZE, VARIANTS, generate_shapes

__all__ = [
    'CLASSES',
    'DEFAULT_CLS_SIZE',
    'FAR_GAP',
    'MIN_VISIBLE_FRACTION',
    'MIN_VISIBLE_PIXELS',
    'PALETTE',
    'SEG_CLASSES',
    'SEG_PALETTE',
    'SPLITS',
    'VARIANTS',
    'Scene',
    'generate_shapes',
    'render_far_context',
    'render_scene',
    'render_single',
]
