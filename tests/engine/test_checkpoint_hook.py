"""Checkpoints that never replace a good one by a worse one, and the choice of the one to resume from."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmhyena.apis.resume import find_checkpoint, make_resumable, run_training
from mmhyena.engine import TrainingDivergedError
from mmhyena.errors import UserError
from mmhyena.utils.cli import make_folder

sys.path.insert(0, str(Path(__file__).parent))
from tiny_run import config, run


class Spoil(Hook):
    """Makes the loss infinite from an iteration on."""

    def __init__(self, first: int) -> None:
        self.first = first

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter >= self.first:
            runner.model.factor = float('inf')


def test_pointer_and_number_of_checkpoints(tmp_path):
    run(config(tmp_path))
    assert sorted(file.name for file in tmp_path.glob('*.pth')) == ['epoch_2.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


def test_an_infinite_loss_stops_the_run(tmp_path):
    hooks = [dict(type='mmhyena.FiniteLossHook', max_steps=2)]
    with pytest.raises(TrainingDivergedError, match=r'^iteration 7: .* 2 steps in a row \(loss -inf\).*epoch_1\.pth$'):
        run(config(tmp_path, custom_hooks=hooks), Spoil(5))
    assert (tmp_path / 'epoch_1.pth').exists()


class HalfPrecision(OptimWrapper):
    """The part of AmpOptimWrapper that skips steps, which MMEngine's refuses to be without a GPU."""

    def __init__(self, optimizer: torch.optim.Optimizer, scale: float, static: bool = False) -> None:
        super().__init__(optimizer)
        self.new_scale = scale if static else None
        self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=scale)

    def backward(self, loss: torch.Tensor, **options) -> None:
        self.loss_scaler.scale(loss).backward(**options)
        self._inner_count += 1

    def step(self, **options) -> None:
        self.loss_scaler.step(self.optimizer)
        self.loss_scaler.update(self.new_scale)


class Overflow(Hook):
    """Makes the loss infinite while the loss scale exceeds a limit, as float16 does; counts the skipped steps."""

    def __init__(self, limit: float) -> None:
        self.limit, self.weights, self.skipped = limit, None, 0

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.model.factor = float('inf') if runner.optim_wrapper.loss_scaler.get_scale() > self.limit else 1.0
        self.weights = runner.model.weight.detach().clone()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.skipped += torch.equal(self.weights, runner.model.weight)


@pytest.mark.skipif(not hasattr(torch.amp, 'GradScaler'), reason='loss scaling on a CPU needs torch 2.3')
@pytest.mark.parametrize('max_skipped, steps', [(100, 8), (5, 5)])
def test_steps_that_mixed_precision_skips_are_counted_apart(max_skipped, steps, tmp_path):
    """Six of eight steps are skipped, the first included, while one step with an infinite loss would end the run."""
    hook = dict(type='mmhyena.FiniteLossHook', max_steps=1, max_skipped=max_skipped)
    cfg, overflow = config(tmp_path, custom_hooks=[hook]), Overflow(limit=2.0**10)
    make_resumable(cfg)
    cfg.experiment_name = f'amp{time.monotonic_ns()}'
    runner = Runner.from_cfg(cfg)
    runner.optim_wrapper = HalfPrecision(torch.optim.SGD(runner.model.parameters(), lr=0.1), scale=2.0**16)
    runner.register_hook(overflow, priority='VERY_HIGH')
    if steps == 8:
        run_training(runner)
    else:
        with pytest.raises(TrainingDivergedError, match=r'iteration 5: .* not finite in 5 steps in a row'):
            run_training(runner)
    assert overflow.skipped == min(6, steps)


class OverflowAtFirst(Hook):
    """Makes the loss of the first iterations infinite."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        runner.model.factor = float('inf') if runner.iter < self.steps else 1.0


@pytest.mark.skipif(not hasattr(torch.amp, 'GradScaler'), reason='loss scaling on a CPU needs torch 2.3')
@pytest.mark.parametrize('options', [{}, dict(fused=True)], ids=['plain', 'fused'])
@pytest.mark.parametrize('overflows, stops', [(4, False), (5, True)])
def test_steps_skipped_at_a_static_scale_are_counted_apart(overflows, stops, options, tmp_path):
    """The scale does not fall, and yet a skipped step leaves the weights as they are."""
    hook = dict(type='mmhyena.FiniteLossHook', max_steps=1, max_skipped=5)
    cfg = config(tmp_path, custom_hooks=[hook])
    make_resumable(cfg)
    cfg.experiment_name = f'static{time.monotonic_ns()}'
    runner = Runner.from_cfg(cfg)
    optimizer = torch.optim.SGD(runner.model.parameters(), lr=0.1, **options)
    runner.optim_wrapper = HalfPrecision(optimizer, scale=512.0, static=True)
    runner.register_hook(OverflowAtFirst(overflows), priority='VERY_HIGH')
    if stops:
        with pytest.raises(TrainingDivergedError, match=r'iteration 5: .* not finite in 5 steps in a row'):
            run_training(runner)
    else:
        run_training(runner)
        assert not optimizer._optimizer_step_post_hooks
    assert runner.model.weight.isfinite().all()
    assert torch.equal(runner.model.weight, torch.ones(4)) == stops


def test_weights_that_are_not_finite_replace_nothing(tmp_path):
    hooks = [dict(type='mmhyena.FiniteLossHook', max_steps=9)]
    with pytest.raises(TrainingDivergedError, match=r'epoch 2, iteration 8: .*\(weight\).*epoch_1\.pth'):
        run(config(tmp_path, custom_hooks=hooks), Spoil(5))
    assert [file.name for file in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path, monkeypatch):
    put, calls = LocalBackend.put, []

    def full(self, content, path):
        calls.append(path)
        if len(calls) == 2:
            put(self, content[:100], path)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        put(self, content, path)

    monkeypatch.setattr(LocalBackend, 'put', full)
    with pytest.raises(UserError, match=r'epoch_2\.pth cannot be written \(No space left.*epoch_1\.pth$'):
        run(config(tmp_path))
    assert sorted(file.name for file in tmp_path.rglob('*.pth*')) == ['epoch_1.pth']


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(UserError, match=r'--work-dir .*file/work cannot be written \(Not a directory\)'):
        make_folder(tmp_path / 'file/work', '--work-dir')


@pytest.mark.parametrize('state', ['empty', 'missing', 'stale', 'moved', 'broken'])
def test_resume_finds_the_newest_readable_checkpoint(state, tmp_path):
    cfg = config(tmp_path, default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)))
    run(cfg)
    pointer, expected = tmp_path / 'last_checkpoint', 'epoch_2.pth'
    if state == 'empty':
        pointer.write_text('')
    elif state == 'missing':
        pointer.unlink()
    elif state == 'stale':
        pointer.write_text(str(tmp_path / 'epoch_7.pth'))
    elif state == 'moved':
        pointer.write_text('/elsewhere/epoch_1.pth')
        expected = 'epoch_1.pth'
    else:
        (tmp_path / 'epoch_2.pth').write_bytes((tmp_path / 'epoch_2.pth').read_bytes()[:500])
        expected = 'epoch_1.pth'
    path, _ = find_checkpoint(cfg)
    assert path.name == expected


def test_resume_in_an_empty_folder_starts_and_with_broken_files_alone_refuses(tmp_path):
    assert run(config(tmp_path / 'new'), resume='auto').iter == 8
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/epoch_1.pth').write_bytes(b'half')
    with pytest.raises(UserError, match=r'none of 1 checkpoints in .*bad can be resumed from \(.*epoch_1\.pth'):
        run(config(tmp_path / 'bad'), resume='auto')


def test_weights_alone_are_not_resumed_from(tmp_path):
    torch.save(dict(state_dict={}, meta={}), tmp_path / 'weights.pth')
    with pytest.raises(UserError, match=r'lacks optimizer, message_hub: start from its weights with .*load_from='):
        run(config(tmp_path), resume=str(tmp_path / 'weights.pth'))


def rates(runner: Runner) -> float:
    return runner.optim_wrapper.param_groups[0]['lr']


def test_nothing_left_to_train_is_said(tmp_path):
    run(config(tmp_path))
    before = (tmp_path / 'epoch_2.pth').read_bytes()
    runner = run(config(tmp_path), resume='auto', name='again')
    log = ''.join(file.read_text() for file in tmp_path.rglob('*.log'))
    assert 'nothing left to train: the checkpoint is at epoch 2 of 2; raise train_cfg.max_epochs' in log
    assert runner.iter == 8
    assert (tmp_path / 'epoch_2.pth').read_bytes() == before


def test_more_epochs_follow_the_new_schedule(tmp_path):
    longer = dict(
        train_cfg=dict(by_epoch=True, max_epochs=4),
        param_scheduler=[dict(type='CosineAnnealingLR', T_max=8, by_epoch=True)],
    )
    expected = rates(run(config(tmp_path / 'whole', **longer)))
    run(config(tmp_path / 'parts'))
    assert rates(run(config(tmp_path / 'parts', **longer), resume='auto')) == pytest.approx(expected, rel=1e-9)


def test_an_unchanged_schedule_is_left_alone(tmp_path):
    whole = rates(run(config(tmp_path / 'whole')))
    run(config(tmp_path / 'parts', train_cfg=dict(by_epoch=True, max_epochs=1)))
    assert rates(run(config(tmp_path / 'parts'), resume='auto')) == whole
