"""Gradients of one step in two processes against the mean over plain runs of both halves; started by torchrun.

``gradients_of_two.py backbone ARCH`` for every choice of outputs, ``gradients_of_two.py model CONFIG KEY=VALUE ...``
for a whole model. Fails with the name of the first parameter whose gradient differs by more than 1e-5 of its largest
entry.
"""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
from torch import nn

TOLERANCE = 1e-5
OUT_INDICES = [tuple(i for i in range(4) if bits >> i & 1) for bits in range(1, 16)]


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def check_mean(found: dict, halves: list[dict], what: object) -> None:
    if not found or found.keys() != halves[0].keys() or found.keys() != halves[1].keys():
        raise ValueError(f'{what}: not the same parameters have gradients')
    for name, gradient in found.items():
        mean = (halves[0][name] + halves[1][name]) / 2
        error = (gradient - mean).abs().max() / mean.abs().max().clamp_min(1e-12)
        if not error <= TOLERANCE:
            raise ValueError(f'{what}, {name}: relative error {error:.1e}')


def check_backbone(rank: int, arch: str) -> None:
    from torch.nn.parallel import DistributedDataParallel

    from mmhyena.backbones import HyenaFormer

    settings = HyenaFormer.arch_settings[arch] | {'depths': (1, 1, 2, 1)}
    halves = torch.randn(2, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    def step(model: nn.Module, half: int) -> dict[str, torch.Tensor]:
        model.zero_grad()
        torch.manual_seed(half)  # drop-path
        sum(out.square().mean() for out in model(halves[half])).backward()
        return gradients(getattr(model, 'module', model))

    dist.init_process_group('gloo')
    for out_indices in OUT_INDICES:
        torch.manual_seed(0)
        model = HyenaFormer(settings, out_indices=out_indices, drop_path_rate=0.2)
        parallel = DistributedDataParallel(model, find_unused_parameters=False)
        # A parameter without gradient makes the second step fail, not the first.
        step(parallel, rank)
        found = step(parallel, rank)
        check_mean(found, [step(model, half) for half in range(2)], (arch, out_indices))


def check_model(rank: int, config: str, words: list[str]) -> None:
    from mmengine.model import MMDistributedDataParallel
    from mmengine.registry import MODELS
    from mmengine.runner import Runner, set_random_seed

    from mmhyena.apis.config import adapt_to_device, load_config, parse_overrides
    from mmhyena.apis.toolkits import use_toolkit

    cfg = load_config(config, parse_overrides(words))
    use_toolkit(cfg)
    adapt_to_device(cfg)
    if 'data_preprocessor' in cfg:
        cfg.model.data_preprocessor = dict(type='ClsDataPreprocessor', **cfg.data_preprocessor)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    model.init_weights()
    # Both processes draw the same batches, before they are a group that would share them out.
    batches = iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))
    set_random_seed(0)  # augmentation draws from numpy as well
    halves = [next(batches) for _ in range(2)]

    def step(model: nn.Module, half: int) -> dict[str, torch.Tensor]:
        own = getattr(model, 'module', model)
        model.zero_grad()
        torch.manual_seed(half)  # dropout, sampled boxes
        losses = model(**own.data_preprocessor(halves[half], True), mode='loss')
        own.parse_losses(losses)[0].backward()
        return gradients(own)

    dist.init_process_group('gloo')
    parallel = MMDistributedDataParallel(model, find_unused_parameters=False, broadcast_buffers=False)
    found = step(parallel, rank)
    check_mean(found, [step(model, half) for half in range(2)], config)


def main() -> None:
    torch.set_num_threads(1)
    rank = int(os.environ['RANK'])
    kind, name, *words = sys.argv[1:]
    if kind == 'backbone':
        check_backbone(rank, name)
    else:
        check_model(rank, name, words)
    print(f'rank {rank}: gradients agree')
    dist.destroy_process_group()


if __name__ == '__main__':
    main()
