"""Signals that end a process which does not come to write its checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmhyena.engine import PreemptionHook, stop_signals
from mmhyena.engine.stop_signals import StopListener

sys.path.insert(0, str(Path(__file__).parent))
from killing import run_apart
from tiny_run import config, run

SIGNALS = ('SIGTERM', 'SIGUSR1')
TERMINATED = 128 + signal.SIGTERM


def hang_after(numbers: list[int], pause: float, deadline: float, same_request: float) -> None:
    """Listen, send this process signals, and hang for a minute."""
    stop_signals.SAME_REQUEST = same_request
    listener = StopListener(SIGNALS, deadline)
    listener.start()
    for number in numbers:
        os.kill(os.getpid(), number)
        time.sleep(pause)
    time.sleep(60)


@pytest.mark.parametrize('second', [signal.SIGTERM, signal.SIGUSR1])
def test_a_second_signal_ends_the_process_at_once(second, capfd):
    start = time.monotonic()
    assert run_apart(hang_after, [signal.SIGTERM, second], 0.3, 50.0, 0.1) == 128 + second
    assert time.monotonic() - start < 10
    assert 'second signal: the run ends at once' in capfd.readouterr().err


def test_a_hung_process_ends_at_the_deadline(capfd):
    start = time.monotonic()
    assert run_apart(hang_after, [signal.SIGTERM], 0.0, 0.5, 1.0) == TERMINATED
    assert 0.5 <= time.monotonic() - start < 10
    assert 'no checkpoint within 0.5 s of the signal' in capfd.readouterr().err


def test_a_signal_that_arrives_twice_is_one_request(capfd):
    """The second delivery does not end the process; the deadline does."""
    assert run_apart(hang_after, [signal.SIGTERM, signal.SIGTERM], 0.1, 1.0, 30.0) == TERMINATED
    assert 'no checkpoint within 1 s' in capfd.readouterr().err


def test_schedulers_that_kill_after_thirty_seconds_see_the_end():
    assert PreemptionHook().listener.deadline < 30


def test_the_signals_are_given_back():
    before = [signal.getsignal(getattr(signal, name)) for name in SIGNALS]
    listener = StopListener(SIGNALS, 5.0)
    listener.start()
    assert [signal.getsignal(getattr(signal, name)) for name in SIGNALS] != before
    listener.close()
    assert [signal.getsignal(getattr(signal, name)) for name in SIGNALS] == before


class HangInAStep(Hook):
    """Asks the run to stop during an iteration of the second epoch, which then never ends."""

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: object = None) -> None:
        if runner.iter == 5:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)


def train_until_hung(work_dir: Path) -> None:
    hooks = [dict(type='mmhyena.PreemptionHook', deadline=1.0)]
    run(config(work_dir, custom_hooks=hooks), HangInAStep())


def test_a_step_that_hangs_does_not_outlive_the_deadline(tmp_path):
    """The process ends without a new checkpoint, and the last one is as it was."""
    assert run_apart(train_until_hung, tmp_path) == TERMINATED
    assert [file.name for file in tmp_path.glob('*.pth')] == ['epoch_1.pth']
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
