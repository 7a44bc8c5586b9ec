"""Training and testing parts that MMEngine builds from configs."""

from mmhyena.engine.attribute_accuracy import AttributeAccuracy
from mmhyena.engine.cpu_amp import CPUAmpOptimWrapper
from mmhyena.engine.instance_tta import InstanceTTAModel
from mmhyena.engine.layer_decay import LayerDecayOptimWrapperConstructor
from mmhyena.engine.official_checkpoint_hook import OfficialCheckpointHook
from mmhyena.engine.timm_cosine import TimmCosineLR

__all__ = [
    'AttributeAccuracy',
    'CPUAmpOptimWrapper',
    'InstanceTTAModel',
    'LayerDecayOptimWrapperConstructor',
    'OfficialCheckpointHook',
    'TimmCosineLR',
]
