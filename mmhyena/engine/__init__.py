"""Training and testing parts that MMEngine builds from configs."""

from .attribute_accuracy import AttributeAccuracy
from .cpu_amp import CPUAmpOptimWrapper
from .instance_tta import InstanceTTAModel
from .layer_decay import LayerDecayOptimWrapperConstructor
from .official_checkpoint_hook import OfficialCheckpointHook

__all__ = [
    'AttributeAccuracy',
    'CPUAmpOptimWrapper',
    'InstanceTTAModel',
    'LayerDecayOptimWrapperConstructor',
    'OfficialCheckpointHook',
]
