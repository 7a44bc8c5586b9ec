"""Several processes: the launch scripts, gradients against single-process runs, gathered evaluation."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmhyena.datasets.shapes import generate_shapes

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    'mmpretrain': 'configs/shapes/hpx-former-tiny_shapes.py',
    'mmseg': 'configs/shapes/upernet_hpx-former-tiny_shapes.py',
    'mmdet': 'configs/shapes/mask-rcnn_hpx-former-tiny_fpn_shapes.py',
}
SLOW = {'mmseg', 'mmdet'}
TASKS = [pytest.param(scope, marks=[pytest.mark.slow] if scope in SLOW else []) for scope in CONFIGS]
TRAIN, VAL = 4, 3  # two processes: two images each to train on; an odd number to validate on


def run_script(name: str, *arguments: object, **settings: str) -> subprocess.CompletedProcess:
    env = {key: value for key, value in os.environ.items() if key not in ('NNODES', 'NODE_RANK', 'PORT', 'MASTER_ADDR')}
    env |= {'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '', **settings}
    command = ['bash', str(ROOT / 'tools' / name), *map(str, arguments)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data') / 'shapes'
    generate_shapes(root, train=TRAIN, val=VAL, size=64, cls_train=TRAIN, cls_val=VAL, cls_size=32, seed=0)
    return root


def overrides(shapes: Path, scope: str) -> dict[str, object]:
    """Options for one image per process and iteration, one epoch or two iterations, no worker processes."""
    root = f'{shapes}/classification' if scope == 'mmpretrain' else f'{shapes}/'
    options: dict[str, object] = {}
    for split in ('train', 'val', 'test'):
        loader = f'{split}_dataloader'
        options |= {f'{loader}.batch_size': 1, f'{loader}.num_workers': 0, f'{loader}.persistent_workers': False}
        options[f'{loader}.dataset.data_root'] = root
        if scope == 'mmdet':
            options[f'{split}_evaluator.ann_file'] = f'{root}annotations/instances_val.json'
    options.pop('train_evaluator.ann_file', None)
    if scope == 'mmseg':
        # Batch norm needs more than one value per channel, also behind the pyramid pooling to 1 x 1.
        options |= {'train_dataloader.batch_size': 2, 'train_cfg.max_iters': 2, 'train_cfg.val_interval': 2}
        options['default_hooks.checkpoint.interval'] = 2
    else:
        options |= {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1}
    return options


def words(options: dict[str, object]) -> list[str]:
    return [f'{key}={value}' for key, value in options.items()]


@pytest.mark.parametrize('scope', TASKS)
def test_two_gloo_processes_train_and_evaluate(scope, shapes, tmp_path):
    """Gathered metrics of two processes are those of one, on three images."""
    config, options = ROOT / CONFIGS[scope], overrides(shapes, scope)
    tail = ['--work-dir', tmp_path, '--cfg-options', *words(options)]
    trained = run_script('dist_train.sh', config, 2, *tail)
    assert trained.returncode == 0, trained.stderr[-3000:]
    assert 'Distributed training: True' in trained.stdout + trained.stderr
    last = Path((tmp_path / 'last_checkpoint').read_text())
    assert torch.load(last, map_location='cpu', weights_only=False)['meta']['iter'] == 2

    gathered, single = tmp_path / 'gathered.json', tmp_path / 'single.json'
    tested = run_script('dist_test.sh', config, last, 2, '--out', gathered, *tail)
    assert tested.returncode == 0, tested.stderr[-3000:]

    from mmhyena.apis.run import evaluate

    evaluate(config, last, work_dir=str(tmp_path), out=str(single), cfg_options=options)
    expected = json.loads(single.read_text())
    assert expected
    assert json.loads(gathered.read_text()) == pytest.approx(expected, abs=1e-6, nan_ok=True)


def compare_gradients(*arguments: str) -> None:
    """Run gradients_of_two.py in two processes."""
    launcher = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    command = [*launcher, str(Path(__file__).with_name('gradients_of_two.py')), *arguments]
    env = os.environ | {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.count('gradients agree') == 2
    assert 'Grad strides' not in result.stderr  # DDP's warning of gradients that it has to copy


@pytest.mark.parametrize('arch', ['hpx_former_tiny', pytest.param('hb_former_tiny', marks=pytest.mark.slow)])
def test_gradients_of_every_out_indices_are_the_mean_of_the_halves(arch):
    compare_gradients('backbone', arch)


@pytest.mark.slow
@pytest.mark.parametrize('scope', CONFIGS)
def test_gradients_of_whole_models_are_the_mean_of_the_halves(scope, shapes):
    compare_gradients('model', str(ROOT / CONFIGS[scope]), *words(overrides(shapes, scope)))


FAKE_COMMAND = '#!/usr/bin/env bash\nprintf "%s\\n" "$@" "MASTER_PORT=${MASTER_PORT:-}" >"$CALL"\n'


@pytest.fixture
def record(tmp_path):
    """Run a script whose interpreter, or srun, only notes its arguments; return them."""

    def run(name: str, *arguments: object, **settings: str) -> list[str]:
        for command in ('python', 'srun'):
            path = tmp_path / 'bin' / command
            path.parent.mkdir(exist_ok=True)
            path.write_text(FAKE_COMMAND)
            path.chmod(0o755)
        call = tmp_path / 'call'
        search = f'{tmp_path / "bin"}{os.pathsep}{os.environ["PATH"]}'
        result = run_script(name, *arguments, PYTHON='python', PATH=search, CALL=str(call), **settings)
        assert result.returncode == 0, result.stderr
        return call.read_text().splitlines()

    return run


def pairs(words: list[str]) -> set[tuple[str, str]]:
    return set(itertools.pairwise(words))


def test_one_machine_takes_a_free_port(record):
    call = record('dist_train.sh', 'config.py', 4, '--amp')
    assert call[:2] == ['-m', 'torch.distributed.run']
    assert '--standalone' in call
    assert {('--nnodes', '1'), ('--nproc-per-node', '4'), ('--launcher', 'pytorch')} <= pairs(call)
    script = call.index(str(ROOT / 'tools/train.py'))
    assert call[script + 1 : script + 3] == ['config.py', '--amp']


def test_several_machines(record):
    call = record('dist_test.sh', 'a.py', 'a.pth', 8, NNODES='2', NODE_RANK='1', MASTER_ADDR='first', PORT='29600')
    assert {
        ('--nnodes', '2'),
        ('--nproc-per-node', '8'),
        ('--node-rank', '1'),
        ('--master-addr', 'first'),
        ('--master-port', '29600'),
    } <= pairs(call)
    script = call.index(str(ROOT / 'tools/test.py'))
    assert call[script + 1 : script + 3] == ['a.py', 'a.pth']


def test_slurm_with_and_without_gpus(record):
    call = record('slurm_train.sh', 'part', 'job', 'a.py', 'work', '--amp', GPUS='16', SRUN_ARGS='--time=60 --qos=low')
    assert {'--partition=part', '--job-name=job', '--ntasks=16', '--gres=gpu:8', '--ntasks-per-node=8'} <= set(call)
    assert {'--time=60', '--qos=low', 'MASTER_PORT=29500', '--signal=USR1@120'} <= set(call)
    script = call.index(str(ROOT / 'tools/train.py'))
    assert call[script + 1 : script + 7] == ['a.py', '--work-dir', 'work', '--launcher', 'slurm', '--amp']
    call = record('slurm_test.sh', 'part', 'job', 'a.py', 'a.pth', GPUS='2', GPUS_PER_NODE='0', PORT='29601')
    assert not [word for word in call if 'gpu' in word]
    assert {'--ntasks=2', 'MASTER_PORT=29601', 'a.pth'} <= set(call)


@pytest.mark.parametrize(
    'name, arguments, settings, culprit',
    [
        ('dist_train.sh', ['a.py'], {}, 'usage: tools/dist_train.sh CONFIG GPUS'),
        ('dist_test.sh', ['a.py', '2'], {}, 'usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS'),
        ('dist_train.sh', ['a.py', 'two'], {}, "'two' is not a number of processes"),
        ('dist_train.sh', ['a.py', '2'], {'NNODES': '2'}, 'NODE_RANK is not set'),
        ('dist_train.sh', ['a.py', '2'], {'NNODES': '2', 'NODE_RANK': '0'}, 'MASTER_ADDR is not set'),
        ('slurm_train.sh', ['part', 'job', 'a.py'], {}, 'usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK'),
    ],
)
def test_wrong_arguments_get_one_line(name, arguments, settings, culprit):
    result = run_script(name, *arguments, **settings)
    assert result.returncode == 2
    assert re.fullmatch(r'error: .*\n', result.stderr)
    assert culprit in result.stderr


def test_launcher_without_its_environment_gets_one_line(monkeypatch):
    from mmengine.config import Config

    from mmhyena.apis.distributed import join_cpu_group
    from mmhyena.errors import UserError

    for name in ('RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr('mmhyena.apis.distributed.get_device', lambda: 'cpu')
    with pytest.raises(UserError, match=r'RANK, WORLD_SIZE.* tools/dist_train\.sh'):
        join_cpu_group(Config(dict(launcher='pytorch')))


@pytest.mark.parametrize(
    'changes, culprit',
    [
        ({'strategy': dict(type='FSDPStrategy')}, 'strategy FSDPStrategy needs a launcher'),
        ({'strategy': dict(type='FSDPStrategy'), 'launcher': 'pytorch'}, 'FSDPStrategy needs an accelerator'),
        ({'strategy': dict(type='DeepSpeedStrategy'), 'launcher': 'pytorch'}, 'needs deepspeed|needs an accelerator'),
        ({'strategy': dict(type='FSDP')}, 'strategy.type FSDP is unknown'),
        ({'model_wrapper_cfg': dict(type='MMFullyShardedDataParallel')}, 'MMFullyShardedDataParallel needs an accel'),
    ],
)
def test_a_strategy_that_cannot_run_is_refused_in_one_line(changes, culprit, monkeypatch):
    from mmengine.config import Config

    from mmhyena.apis.distributed import build_runner
    from mmhyena.errors import UserError

    monkeypatch.setattr('mmhyena.apis.distributed.get_device', lambda: 'cpu')
    with pytest.raises(UserError, match=culprit) as error:
        build_runner(Config(dict(launcher='none') | changes))
    assert '\n' not in str(error.value)


def test_strategy_configs_choose_the_flexible_runner(monkeypatch):
    """With an accelerator the config reaches FlexibleRunner as it is, DeepSpeed with its own optimizer wrapper."""
    import mmengine.runner
    from mmengine.config import Config

    from mmhyena.apis import distributed

    built = []
    monkeypatch.setattr(distributed, 'get_device', lambda: 'cuda')
    monkeypatch.setattr(distributed.importlib.util, 'find_spec', lambda name: name)
    monkeypatch.setattr(mmengine.runner.FlexibleRunner, 'from_cfg', built.append)
    for name in ('fsdp', 'deepspeed_zero2'):
        cfg = Config.fromfile(ROOT / f'configs/_base_/strategies/{name}.py')
        cfg.merge_from_dict(
            dict(launcher='pytorch', optim_wrapper=dict(type='OptimWrapper', clip_grad=dict(max_norm=2)))
        )
        distributed.build_runner(cfg)
    assert [cfg.strategy.type for cfg in built] == ['FSDPStrategy', 'DeepSpeedStrategy']
    assert built[0].optim_wrapper.clip_grad.max_norm == 2
    assert built[1].strategy.gradient_clipping == 2
    assert built[1].optim_wrapper == dict(type='DeepSpeedOptimWrapper')


@pytest.mark.parametrize('timeout', [0, -5, 'long'])
def test_a_wrong_timeout_is_one_line(timeout):
    from mmengine.config import Config

    from mmhyena.apis.distributed import join_cpu_group
    from mmhyena.errors import UserError

    with pytest.raises(UserError, match=r'env_cfg\.dist_cfg\.timeout=.* is not a positive number'):
        join_cpu_group(Config(dict(launcher='none', env_cfg=dict(dist_cfg=dict(timeout=timeout)))))


def test_find_unused_parameters_is_read(monkeypatch):
    from mmhyena.apis.config import load_config

    cfg = load_config(ROOT / CONFIGS['mmpretrain'], {'find_unused_parameters': True})
    cfg.launcher = 'pytorch'
    monkeypatch.setattr('mmhyena.apis.distributed.get_device', lambda: 'cpu')
    monkeypatch.setattr('mmhyena.apis.distributed.dist.is_initialized', lambda: True)
    from mmhyena.apis.distributed import join_cpu_group

    join_cpu_group(cfg)
    assert cfg.model_wrapper_cfg.find_unused_parameters is True
    assert cfg.model_wrapper_cfg.device_ids is None
