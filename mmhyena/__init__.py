"""HyenaPixel, bidirectional Hyena, Hyena N-D and IBiT backbones for OpenMMLab.

Importing the package is light: it prepares the interpreter for an mmcv without compiled operators (see
:mod:`mmhyena.compat`) and imports neither torch nor any toolkit. Models register themselves when a config first says
``type='mmhyena.X'``.
"""

from mmhyena import compat
from mmhyena.version import __version__

compat.install()
compat.check_distributions(raise_error=False)

__all__ = ['__version__']
