# Gradients and optimizer states sharded over all GPUs (DeepSpeed ZeRO, stage 2), in bfloat16.
# Add to _base_ of a config; needs GPUs, a launcher and pip install deepspeed. A checkpoint is a folder.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='DeepSpeedStrategy',
    bf16=dict(enabled=True),
    zero_optimization=dict(stage=2, overlap_comm=True, contiguous_gradients=True),
    inputs_to_half=['inputs'],
)
