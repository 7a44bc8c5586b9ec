"""Training and testing parts that MMEngine builds from configs."""

from mmhyena.engine.attribute_accuracy import AttributeAccuracy
from mmhyena.engine.checkpoint_hook import CheckpointHook, TrainingDivergedError
from mmhyena.engine.cpu_amp import CPUAmpOptimWrapper
from mmhyena.engine.draw_predictions_hook import DrawPredictionsHook
from mmhyena.engine.finite_loss_hook import FiniteLossHook
from mmhyena.engine.flexible_runner import DDPStrategy, FlexibleRunner
from mmhyena.engine.instance_tta import InstanceTTAModel
from mmhyena.engine.layer_decay import LayerDecayOptimWrapperConstructor
from mmhyena.engine.official_checkpoint_hook import OfficialCheckpointHook
from mmhyena.engine.placed_data import PlacedBatchSampler, PlacedDataset, ignore_stop_signals
from mmhyena.engine.preemption_hook import Preempted, PreemptionHook
from mmhyena.engine.timm_cosine import TimmCosineLR
from mmhyena.engine.train_loops import EpochTrainLoop, IterTrainLoop

__all__ = [
    'AttributeAccuracy',
    'CPUAmpOptimWrapper',
    'CheckpointHook',
    'DDPStrategy',
    'DrawPredictionsHook',
    'EpochTrainLoop',
    'FiniteLossHook',
    'FlexibleRunner',
    'InstanceTTAModel',
    'IterTrainLoop',
    'LayerDecayOptimWrapperConstructor',
    'OfficialCheckpointHook',
    'TimmCosineLR',
    'PlacedBatchSampler',
    'PlacedDataset',
    'Preempted',
    'PreemptionHook',
    'TrainingDivergedError',
    'ignore_stop_signals',
]
