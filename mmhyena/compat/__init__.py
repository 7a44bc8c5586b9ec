"""Fits mmhyena to the OpenMMLab packages that are installed.

- :func:`install` lets ``mmcv.ops`` import where mmcv was installed without its compiled operators.
- :func:`check_distributions` finds OneDL and OpenMMLab packages installed over each other.
- :func:`environment_report` says what is installed; ``python -m mmhyena.compat`` prints it.
- ``python -m mmhyena.compat SCRIPT [ARGS...]`` runs another project's script with :func:`install` done first.

Nothing here imports torch or a toolkit before mmcv itself asks for its operators.
"""

from mmhyena.compat.distributions import DistributionConflictError, check_distributions, environment_report
from mmhyena.compat.mmcv_ext import install

__all__ = ['DistributionConflictError', 'check_distributions', 'environment_report', 'install']
