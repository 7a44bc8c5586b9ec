# Parameters, gradients and optimizer states sharded over all GPUs (FSDP), for models that do not fit with DDP.
# Add to _base_ of a config; needs GPUs and a launcher. Checkpoints are whole, as those of DDP.
runner_type = 'FlexibleRunner'
strategy = dict(
    type='FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        auto_wrap_policy=dict(type='torch.distributed.fsdp.wrap.size_based_auto_wrap_policy', min_num_params=1_000_000),
        use_orig_params=True,  # weight decay and learning rates differ between the parameters of a layer
    ),
    state_dict_cfg='full',
)
