"""Several processes on machines without an accelerator, which MMEngine's launchers take for granted."""

from __future__ import annotations

import atexit
import os
import subprocess

import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device

from mmhyena.errors import UserError

__all__ = ['join_cpu_group']

# Where each launcher tells a process its rank, the number of processes and its rank on its machine.
_LAUNCHER_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def join_cpu_group(cfg: Config) -> None:
    """Join the processes of ``cfg.launcher`` with gloo if there is no accelerator; with one MMEngine does it.

    MMEngine would choose a CUDA device for each process, and name it to ``DistributedDataParallel``.

    Raises:
        UserError: If the process was not started by the launcher.
    """
    if cfg.launcher == 'none' or get_device() != 'cpu':
        return
    if not dist.is_initialized():
        _export_ranks(cfg.launcher)
        dist.init_process_group('gloo')
        atexit.register(dist.destroy_process_group)
    cfg.model_wrapper_cfg = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )


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
