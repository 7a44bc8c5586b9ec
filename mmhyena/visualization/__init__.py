"""Pictures of predictions, at the size of the image: the one place where the package draws boxes, masks and labels."""

from mmhyena.visualization.colors import full_palette
from mmhyena.visualization.drawing import class_name, draw_classes, draw_heat, draw_objects, draw_regions
from mmhyena.visualization.samples import draw_sample

__all__ = ['class_name', 'draw_classes', 'draw_heat', 'draw_objects', 'draw_regions', 'draw_sample', 'full_palette']
