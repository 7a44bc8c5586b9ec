"""Runs a training in a process of its own that kills itself at a chosen moment."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from mmhyena.datasets.shapes import generate_shapes

ROOT = Path(__file__).parents[2]
CONFIG = """
_base_ = {base!r}
model = dict(
    backbone=dict(
        _delete_=True, type='mmhyena.HyenaFormer', out_indices=(3,), gap_before_final_norm=True, drop_path_rate=0.3,
        arch=dict(depths=(1, 1, 1, 1), dims=(8, 8, 16, 16), token_mixers=[dict(type='SepConv')] * 4),
    ),
    head=dict(in_channels=16),
)
randomness = dict(seed=5, deterministic=True)
default_hooks = dict(checkpoint=dict(_delete_=True, {saving}, max_keep_ckpts=2, save_best='accuracy/top1'))
custom_hooks = [dict(type='EMAHook')]
train_cfg = dict(_delete_=True, {training}, val_interval={val_interval})
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=3),
    dict(type='CosineAnnealingLR', T_max=6, by_epoch=False, begin=3, end=9),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=32),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='RandomErasing', erase_prob=0.5, mode='rand'),
    dict(type='PackInputs'),
]
train_dataloader = dict(
    batch_size=4, num_workers={workers}, persistent_workers={workers} > 0,
    sampler=dict(type={sampler!r}, shuffle=True), dataset=dict(data_root={data!r}, pipeline=train_pipeline),
)
val_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False, dataset=dict(data_root={data!r}))
"""
EPOCH = dict(training='by_epoch=True, max_epochs=3', val_interval=1, sampler='DefaultSampler')
ITERATION = dict(training='by_epoch=False, max_iters=9', val_interval=3, sampler='InfiniteSampler')
BY_EPOCH = "type='CheckpointHook', interval=1"
BY_ITERATION = "type='CheckpointHook', by_epoch=False, interval=2"
# 10 images in batches of 4: 3 iterations per epoch, 9 in all, the last batch of an epoch being incomplete.
VARIANTS = {
    'epochs': dict(EPOCH, saving=BY_EPOCH),
    'epochs, checkpoints by iteration': dict(EPOCH, saving=BY_ITERATION),
    'iterations': dict(ITERATION, saving=BY_ITERATION),
}
ITERATIONS = 9

# Functions in which a run can be killed, with how often an uninterrupted run calls each.
MOMENTS = {
    'an iteration': ('mmhyena.engine.train_loops.seed_from', ITERATIONS),
    'a validation': ('mmengine.model.BaseModel.val_step', 6),
    'the middle of writing a checkpoint': ('mmengine.fileio.LocalBackend.put', 7),
    'a checkpoint before it is in place': ('os.replace', 12),
    'the removal of what is superseded': ('mmengine.fileio.LocalBackend.remove', 2),
    'the loading of a sample': ('mmpretrain.datasets.CustomDataset.prepare_data', 30),
}


def make_data(root: Path) -> Path:
    """Generate 10 training and 6 validation images; return the folder of the classification data."""
    generate_shapes(root, train=1, val=1, size=64, cls_train=10, cls_val=6, cls_size=32, seed=0)
    return root / 'classification'


def write_config(path: Path, data: Path, workers: int = 0, **variant: Any) -> Path:
    """Write the config of a tiny classifier with augmentation, stochastic depth and a moving average."""
    base = str(ROOT / 'configs/shapes/hpx-former-tiny_shapes.py')
    path.write_text(CONFIG.format(base=base, data=str(data), workers=workers, **variant))
    return path


def run_apart(work: Callable[..., Any], *arguments: Any, timeout: float = 300) -> int:
    """Call a function in a forked process, which starts at once since everything is imported; return its exit code."""
    return _run([(work, arguments)], timeout)[0]


def run_group(work: Callable[..., Any], *arguments: Any, ranks: int = 2, timeout: float = 300) -> list[int]:
    """Call a function in forked processes with the variables that torchrun sets; return their exit codes."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    return _run([(_as_rank, (rank, ranks, port, work, arguments)) for rank in range(ranks)], timeout)


def _run(calls: Sequence[tuple[Callable[..., Any], tuple]], timeout: float) -> list[int]:
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=work, args=arguments) for work, arguments in calls]
    for process in processes:
        process.start()
    end = time.monotonic() + timeout
    try:
        # Not join(): it waits for a pipe that the workers of a killed process keep open until they notice.
        while any(process.exitcode is None for process in processes):
            if time.monotonic() > end:
                raise TimeoutError(f'{calls[0][0].__name__} took more than {timeout} s')
            time.sleep(0.05)
    finally:
        for process in processes:
            process.kill()
    return [cast(int, process.exitcode) for process in processes]


def _as_rank(rank: int, ranks: int, port: int, work: Callable[..., Any], arguments: tuple) -> None:
    os.environ |= {'RANK': str(rank), 'LOCAL_RANK': str(rank), 'WORLD_SIZE': str(ranks)}
    os.environ |= {'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(port)}
    work(*arguments)


def train(config: Path, work_dir: Path, kill: tuple | None = None, **arguments: Any) -> None:
    """Train from the newest checkpoint in ``work_dir``; ``kill`` holds the arguments of :func:`kill_at`."""
    from mmhyena.apis import train as train_config

    if kill is not None:
        kill_at(*kill)
    train_config(config, work_dir=str(work_dir), resume='auto', **arguments)


def last_checkpoint(work_dir: Path) -> dict[str, Any]:
    """Return the checkpoint that the pointer of a work directory names."""
    return torch.load((work_dir / 'last_checkpoint').read_text(), weights_only=False)


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare weights, moving average, optimizer states and schedule bit for bit."""
    assert found['meta']['iter'] == expected['meta']['iter'] == ITERATIONS
    assert found['meta']['epoch'] == expected['meta']['epoch']
    for part in ('state_dict', 'ema_state_dict'):
        different = [name for name, value in expected[part].items() if not torch.equal(value, found[part][name])]
        assert not different, f'{len(different)} tensors of {part} differ, the first being {different[0]}'
    for index, state in expected['optimizer']['state'].items():
        for name, value in state.items():
            assert torch.equal(value, found['optimizer']['state'][index][name]), (index, name)
    rates = [[group['lr'] for group in checkpoint['optimizer']['param_groups']] for checkpoint in (found, expected)]
    assert rates[0] == rates[1]


def kill_at(moment: str, count: int, number: int = signal.SIGKILL) -> None:
    """Let this process signal itself when the function of a moment is called for the ``count``-th time."""
    name, _ = MOMENTS[moment]
    owner, attribute = find(name)
    function, calls, process = getattr(owner, attribute), 0, os.getpid()

    def killed(*arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            if attribute == 'put' and number == signal.SIGKILL:  # half of the bytes
                _, content, path = arguments
                function(arguments[0], content[: len(content) // 2], path)
            os.kill(process, number)
        return function(*arguments, **keywords)

    setattr(owner, attribute, killed)


def find(name: str) -> tuple[Any, str]:
    """Return the module or class that a dotted name's last part belongs to, and that part."""
    import importlib

    parts = name.split('.')
    for length in range(len(parts) - 1, 0, -1):
        try:
            owner: Any = importlib.import_module('.'.join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:-1]:
            owner = getattr(owner, part)
        return owner, parts[-1]
    raise ModuleNotFoundError(name)
