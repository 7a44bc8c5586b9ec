"""Names and display colours of the Shapes classes, as the toolkits' ``metainfo`` wants them."""

from __future__ import annotations

from mmhyena.datasets.shapes.figures import CLASSES

PALETTE = ((220, 20, 60), (0, 130, 200), (60, 180, 75), (245, 200, 0), (145, 30, 180))
"""RGB per class, in the order of :data:`CLASSES`."""

SEG_CLASSES = ('background', *CLASSES)
"""Classes of the label maps after ``reduce_zero_label``."""

SEG_PALETTE = ((60, 60, 60), *PALETTE)
