"""Signals by which schedulers announce that a job is about to be killed."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

__all__ = ['StopListener']

# torchrun and Slurm may both deliver one request, hence twice.
SAME_REQUEST = 1.0


class StopListener:
    """Waits for signals in a thread of its own, since Python runs handlers only between two operations of the main one.

    The first signal is noted in :attr:`signal`. A second one that follows after more than a second ends the process at
    once, as does the deadline, with exit code 128 + signal.

    Args:
        signals: Names of signals.
        deadline: Seconds from the first signal to the end of the process.
    """

    def __init__(self, signals: Sequence[str], deadline: float) -> None:
        self.numbers = {int(getattr(signal, name)) for name in signals}
        self.deadline = deadline
        self.signal: int | None = None
        self._since = 0.0
        self._handlers: dict[int, Any] = {}
        self._pipe: tuple[int, int] | None = None

    def start(self) -> None:
        """Take over the signals; a thread other than the main one cannot, and leaves them as they are."""
        if self._pipe is not None or threading.current_thread() is not threading.main_thread():
            return
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        self._old_wakeup = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in self.numbers:
            self._handlers[number] = signal.signal(number, _leave_to_thread)
        self._thread = threading.Thread(target=self._listen, args=(self._pipe[0],), name='stop-signals', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the signals back."""
        if self._pipe is None:
            return
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        read, write = self._pipe
        os.write(write, b'\0')
        self._thread.join()
        os.close(read)
        os.close(write)
        self._pipe = None

    def _listen(self, read: int) -> None:
        while True:
            left = None if self.signal is None else max(0.0, self._since + self.deadline - time.monotonic())
            ready, _, _ = select.select([read], [], [], left)
            if not ready:
                _end_process(self.signal or 0, f'no checkpoint within {self.deadline:g} s of the signal')
            for number in os.read(read, 64):
                if number == 0:
                    return
                if number in self.numbers:
                    self._note(number)

    def _note(self, number: int) -> None:
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._since = number, now
        elif now - self._since > SAME_REQUEST:
            _end_process(number, 'second signal')


def _leave_to_thread(number: int, frame: FrameType | None) -> None:
    """Replace the default action; the thread reads the signal from the pipe."""


def _end_process(number: int, reason: str) -> None:
    sys.stderr.write(f'{reason}: the run ends at once; the last checkpoint is as it was\n')
    sys.stderr.flush()
    os._exit(128 + number)
