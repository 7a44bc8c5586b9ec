"""Several processes: gloo on machines without an accelerator, and the strategies of MMEngine's FlexibleRunner."""

from __future__ import annotations

import atexit
import importlib.util
import os
import subprocess
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import RUNNERS, STRATEGIES
from mmengine.runner import Runner

from mmhyena.engine import FlexibleRunner
from mmhyena.errors import UserError

__all__ = ['build_runner', 'join_cpu_group']

# Where each launcher tells a process its rank, the number of processes and its rank on its machine.
_LAUNCHER_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}

_DDP = 'MMDistributedDataParallel'
_OWN_DDP = 'mmhyena.DDPStrategy'


def join_cpu_group(cfg: Config) -> None:
    """Join the processes of ``cfg.launcher`` with gloo if there is no accelerator; with one MMEngine does it.

    MMEngine would choose a CUDA device for each process, and name it to ``DistributedDataParallel``. A collective
    operation fails after ``env_cfg.dist_cfg.timeout`` seconds (torch's default: 1800), so that a hung process ends the
    job.

    Raises:
        UserError: If the process was not started by the launcher, or the timeout is not a positive number.
    """
    timeout = (cfg.get('env_cfg') or {}).get('dist_cfg', {}).get('timeout')
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise UserError(f'env_cfg.dist_cfg.timeout={timeout!r} is not a positive number of seconds')
    if cfg.launcher == 'none' or get_device() != 'cpu':
        return
    if not dist.is_initialized():
        _export_ranks(cfg.launcher)
        dist.init_process_group('gloo', timeout=None if timeout is None else timedelta(seconds=timeout))
        atexit.register(dist.destroy_process_group)
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        broadcast_buffers=False, find_unused_parameters=cfg.get('find_unused_parameters', False)
    )
    cfg.model_wrapper_cfg = dict(dict(type=_DDP), **dict(wrapper, device_ids=None))


def build_runner(cfg: Config) -> Any:
    """Build the runner that a config asks for: MMEngine's, or its ``FlexibleRunner`` where there is a ``strategy``.

    Raises:
        UserError: If the strategy or model wrapper cannot run here, with the reason.
    """
    strategy, kind = cfg.get('strategy'), cfg.get('runner_type')
    wrapper = (cfg.get('model_wrapper_cfg') or {}).get('type', _DDP)
    if 'FullySharded' in str(wrapper) and get_device() == 'cpu':
        raise UserError(f'model_wrapper_cfg.type {wrapper} needs an accelerator: drop it to train on the CPU')
    if strategy is None and kind in (None, 'Runner'):
        return Runner.from_cfg(cfg)
    if kind not in (None, 'FlexibleRunner'):
        return RUNNERS.build(cfg)
    if strategy is None:  # MMEngine's choice
        cfg.strategy = dict(type='SingleDeviceStrategy' if cfg.launcher == 'none' else 'DDPStrategy')
    _check_strategy(cfg)
    cfg.model_wrapper_cfg = None  # the strategy's business
    return FlexibleRunner.from_cfg(cfg)


def _check_strategy(cfg: Config) -> None:
    """Check that ``cfg.strategy`` can run here, and fit the optimizer wrapper and the CPU's DDP to it, in place."""
    name = cfg.strategy.get('type')
    if not isinstance(name, str) or STRATEGIES.get(name) is None:
        raise UserError(f'strategy.type {name} is unknown: use DDPStrategy, FSDPStrategy or DeepSpeedStrategy')
    if name == 'SingleDeviceStrategy':
        return
    if cfg.launcher == 'none':
        raise UserError(f'strategy {name} needs a launcher: start with tools/dist_train.sh or tools/slurm_train.sh')
    if name == 'DeepSpeedStrategy' and importlib.util.find_spec('deepspeed') is None:
        raise UserError('strategy DeepSpeedStrategy needs deepspeed, which is not installed: pip install deepspeed')
    if get_device() == 'cpu':
        if name not in ('DDPStrategy', _OWN_DDP):
            raise UserError(f'strategy {name} needs an accelerator: drop strategy to train with DDP on the CPU')
        cfg.strategy.model_wrapper = dict(cfg.strategy.get('model_wrapper') or cfg.model_wrapper_cfg, device_ids=None)
    if name == 'DDPStrategy':
        cfg.strategy.type = _OWN_DDP
    if name == 'DeepSpeedStrategy':
        _use_deepspeed_optimizer(cfg)


def _use_deepspeed_optimizer(cfg: Config) -> None:
    """DeepSpeed has mixed precision and clipping in its own settings, not in the optimizer wrapper."""
    clip = cfg.optim_wrapper.pop('clip_grad', None)
    if clip is not None:
        cfg.strategy.setdefault('gradient_clipping', clip['max_norm'])
    for key in ('loss_scale', 'dtype'):
        cfg.optim_wrapper.pop(key, None)
    cfg.optim_wrapper.type = 'DeepSpeedOptimWrapper'


def _export_ranks(launcher: str) -> None:
    """Set the variables that ``torch.distributed`` reads."""
    variables = _LAUNCHER_VARIABLES[launcher]
    missing = [name for name in variables if name not in os.environ]
    if missing:
        raise UserError(
            f'--launcher {launcher} needs {", ".join(missing)} in the environment: '
            'start with tools/dist_train.sh, tools/slurm_train.sh or mpirun, or drop --launcher'
        )
    for ours, name in zip(_LAUNCHER_VARIABLES['pytorch'], variables):
        os.environ[ours] = os.environ[name]
    if 'MASTER_ADDR' not in os.environ:
        os.environ['MASTER_ADDR'] = _first_slurm_host() if launcher == 'slurm' else '127.0.0.1'
    os.environ.setdefault('MASTER_PORT', '29500')


def _first_slurm_host() -> str:
    command = ['scontrol', 'show', 'hostnames', os.environ['SLURM_NODELIST']]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]
