"""Training and testing parts that MMEngine builds from configs."""

from .cpu_amp import CPUAmpOptimWrapper
from .instance_tta import InstanceTTAModel

__all__ = ['CPUAmpOptimWrapper', 'InstanceTTAModel']
