"""Runs in two gloo processes and under FlexibleRunner: stopped, resumed, hung, sharded."""

from __future__ import annotations

import copy
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from mmengine.utils import digit_version

pytest.importorskip('mmpretrain')

import mmpretrain.datasets
import mmpretrain.models  # noqa: F401  (imported before the processes are forked)

import mmhyena.apis.run  # noqa: F401

sys.path.insert(0, str(Path(__file__).parent))
from killing import VARIANTS, assert_same, last_checkpoint, make_data, run_group, train, write_config

# Two processes share each epoch of 10 samples: 3 iterations in batches of 2, the last one of 1.
TWO = "\ntrain_dataloader['batch_size'] = 2\n"


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    return make_data(tmp_path_factory.mktemp('data') / 'shapes')


def config(folder: Path, data: Path, name: str, addition: str = '') -> Path:
    path = write_config(folder / f'{name}.py', data, **VARIANTS['epochs'])
    path.write_text(path.read_text() + addition)
    return path


def train_ranks(config: Path, work_dir: Path, kills: dict[int, tuple] | None = None) -> None:
    """Train as one of several processes; ``kills`` holds the arguments of kill_at of each rank that signals itself."""
    train(config, work_dir, (kills or {}).get(int(os.environ['RANK'])), launcher='pytorch')


@pytest.mark.slow
@pytest.mark.parametrize('signaled', [(1,), (0, 1)])
def test_two_processes_stop_together_and_resume(signaled, data, tmp_path):
    """One signaled process is enough: both stop after the same iteration, with one checkpoint."""
    path = config(tmp_path, data, 'two', TWO)
    assert run_group(train_ranks, path, tmp_path / 'whole') == [0, 0]
    kills = dict.fromkeys(signaled, ('an iteration', 5, signal.SIGUSR1))
    assert run_group(train_ranks, path, tmp_path / 'parts', kills) == [75, 75]
    stopped = last_checkpoint(tmp_path / 'parts')
    assert (stopped['meta']['epoch'], stopped['meta']['iter']) == (1, 5)
    assert run_group(train_ranks, path, tmp_path / 'parts') == [0, 0]
    assert_same(last_checkpoint(tmp_path / 'parts'), last_checkpoint(tmp_path / 'whole'))


HANG = """
env_cfg = dict(dist_cfg=dict(timeout=4))
custom_hooks = [dict(type='EMAHook'), dict(type='mmhyena.PreemptionHook', deadline=2)]
"""


def train_with_a_hung_rank(config: Path, work_dir: Path) -> None:
    """Rank 1 sleeps in its fourth iteration, and is sent SIGTERM once rank 0 has ended, as by torchrun."""
    from mmhyena.engine import train_loops

    function, calls = train_loops.seed_from, 0

    def hung(*place):
        nonlocal calls
        calls += 1
        if calls == 4:
            (work_dir / 'hung').write_text(str(os.getpid()))
            time.sleep(600)
        function(*place)

    if os.environ['RANK'] == '1':
        train_loops.seed_from = hung
        train_ranks(config, work_dir)
    else:
        try:
            train_ranks(config, work_dir)
        finally:
            (work_dir / 'ended').touch()
            os.kill(int((work_dir / 'hung').read_text()), signal.SIGTERM)


@pytest.mark.slow
def test_a_hung_rank_ends_the_job(data, tmp_path):
    """After the timeout the other rank fails, and the hung one ends within the deadline of the signal."""
    work_dir = tmp_path / 'work'
    codes = run_group(train_with_a_hung_rank, config(tmp_path, data, 'hung', TWO + HANG), work_dir, timeout=120)
    end = time.time()
    assert codes == [1, 128 + signal.SIGTERM]
    waited = (work_dir / 'ended').stat().st_mtime - (work_dir / 'hung').stat().st_mtime
    assert 3 < waited < 14  # the timeout, and what ten seconds of a busy machine may add
    assert end - (work_dir / 'ended').stat().st_mtime < 12
    assert (work_dir / 'epoch_1.pth').exists()


def train_alone(config: Path, work_dir: Path, kills: dict[int, tuple] | None = None) -> None:
    train(config, work_dir, (kills or {}).get(0))


@pytest.mark.slow
@pytest.mark.parametrize('strategy, ranks', [('SingleDeviceStrategy', 1), ('DDPStrategy', 2), (None, 2)])
def test_a_strategy_trains_as_the_runner_does(strategy, ranks, data, tmp_path):
    """FlexibleRunner, stopped by a signal and resumed, ends with the weights of Runner."""
    work, batches = (train_ranks, TWO) if ranks == 2 else (train_alone, '')
    plain = config(tmp_path, data, 'plain', batches)
    choice = "\nrunner_type = 'FlexibleRunner'\n" if strategy is None else f'\nstrategy = dict(type={strategy!r})\n'
    flexible = config(tmp_path, data, 'flexible', batches + choice)
    assert run_group(work, plain, tmp_path / 'plain', ranks=ranks) == [0] * ranks
    kills = dict.fromkeys(range(ranks), ('an iteration', 5, signal.SIGTERM))
    assert run_group(work, flexible, tmp_path / 'flexible', kills, ranks=ranks) == [75] * ranks
    assert run_group(work, flexible, tmp_path / 'flexible', ranks=ranks) == [0] * ranks
    assert 'Strategy' in ''.join(file.read_text() for file in (tmp_path / 'flexible').glob('*.py'))
    assert_same(last_checkpoint(tmp_path / 'flexible'), last_checkpoint(tmp_path / 'plain'))


def shard_fully() -> None:
    """One step of a backbone sharded by ``fully_shard`` over two CPU processes against one process, same batch."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    from mmhyena.backbones import HyenaFormer

    dist.init_process_group('gloo', timeout=timedelta(seconds=60))
    torch.manual_seed(0)
    model = HyenaFormer('hpx_former_tiny', out_indices=(3,))
    for parameter in model.parameters():  # fully_shard refuses weights that are stored channels last
        parameter.data = parameter.data.contiguous()
    whole, mesh = copy.deepcopy(model), init_device_mesh('cpu', (2,))
    for stage in model.stages:
        for block in stage:
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    halves = torch.randn(2, 2, 3, 64, 64)  # (half, B, C, H, W)
    optimizers = [torch.optim.AdamW(net.parameters(), lr=1e-3) for net in (model, whole)]
    before = [parameter.detach().clone() for parameter in whole.parameters()]
    own = model(halves[dist.get_rank()])[0]
    own.square().mean().backward()
    outs = [whole(half)[0] for half in halves]
    torch.testing.assert_close(own, outs[dist.get_rank()])
    (sum(out.square().mean() for out in outs) / 2).backward()
    for optimizer in optimizers:
        optimizer.step()
    for (name, parameter), expected, old in zip(model.named_parameters(), whole.parameters(), before):
        assert parameter.to_local().numel() < expected.numel() or expected.shape[0] == 1, name
        gradient = parameter.grad.full_tensor()
        torch.testing.assert_close(gradient, expected.grad, rtol=1e-5, atol=1e-5 * expected.grad.abs().max().item())
        torch.testing.assert_close(parameter.full_tensor(), expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(expected, old), name
    dist.destroy_process_group()


@pytest.mark.slow
def test_fully_shard_on_a_cpu_mesh_makes_the_step_of_one_process():
    if digit_version(torch.__version__) < digit_version('2.6'):
        pytest.skip('fully_shard needs torch 2.6')
    assert run_group(shard_fully) == [0, 0]
