"""Measuring speed and memory of two implementations side by side."""

from __future__ import annotations

import csv
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from mmhyena.analysis.profile import saved_bytes
from mmhyena.errors import UserError

__all__ = [
    'Timing',
    'check_agreement',
    'cpu_ms',
    'machine_facts',
    'peak_bytes',
    'relative_error',
    'saved_bytes',
    'time_pairs',
    'write_csv',
]


class Timing(NamedTuple):
    """Two contestants timed in turn.

    Attributes:
        first_ms: Median time of the first, in milliseconds.
        second_ms: Median time of the second.
        ratio: Median over the rounds of second over first: how many times faster the first is.
        low: Lower quartile of that ratio.
        high: Upper quartile.
    """

    first_ms: float
    second_ms: float
    ratio: float
    low: float
    high: float


def relative_error(got: Tensor, want: Tensor) -> float:
    """Return ``|got - want| / |want|`` in Frobenius norms."""
    want = want.double()
    return float((got.double() - want).norm() / want.norm().clamp_min(1e-30))


def check_agreement(names: Sequence[str], got: Sequence[Tensor], want: Sequence[Tensor], tolerance: float) -> float:
    """Return the largest relative error of ``got`` against ``want``.

    Raises:
        UserError: If it exceeds ``tolerance`` or is not finite: a speed of other outputs means nothing.
    """
    worst = 0.0
    for name, a, b in zip(names, got, want, strict=True):
        error = relative_error(a, b)
        if not error <= tolerance:
            raise UserError(
                f'{name} differs by {error:.1e} (limit {tolerance:.0e}): no speed of unequal outputs is shown'
            )
        worst = max(worst, error)
    return worst


def time_pairs(
    first: Callable[[], object],
    second: Callable[[], object],
    rounds: int = 20,
    warmup: int = 3,
    clock: str = 'wall',
) -> Timing:
    """Time two functions in turn, so that a change of the machine's load meets both.

    Args:
        first: What is judged.
        second: What it is judged by.
        rounds: Number of pairs.
        warmup: Pairs that are not counted.
        clock: ``'wall'``, ``'cpu'`` for the processor time of this process (of use with one thread, on a machine that
            others use as well) or ``'cuda'`` for CUDA events.
    """
    timer = dict(wall=_wall_ms, cpu=cpu_ms, cuda=_cuda_ms)[clock]
    times: list[tuple[float, float]] = []
    for turn in range(warmup + rounds):
        pair = (timer(first), timer(second)) if turn % 2 else (timer(second), timer(first))[::-1]
        if turn >= warmup:
            times.append(pair)
    ratios = sorted(b / a for a, b in times)
    return Timing(
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(ratios),
        ratios[len(ratios) // 4],
        ratios[-1 - len(ratios) // 4],
    )


def _wall_ms(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3


def cpu_ms(function: Callable[[], object]) -> float:
    """Return the processor time of a call in milliseconds."""
    start = time.process_time()
    function()
    return (time.process_time() - start) * 1e3


def _cuda_ms(function: Callable[[], object]) -> float:
    start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    function()
    stop.record()
    stop.synchronize()
    return start.elapsed_time(stop)


def peak_bytes(function: Callable[[], object]) -> int:
    """Return the most bytes that ``function()`` has allocated at a time on the current CUDA device."""
    function()  # lazily made buffers are there from now on
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    function()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def machine_facts(device: str = 'cpu') -> dict[str, str]:
    """Return what a figure depends on: processor, cores, threads, versions."""
    facts = dict(
        device=_cpu_model() if device == 'cpu' else torch.cuda.get_device_name(device),
        cores=str(os.cpu_count()),
        threads=str(torch.get_num_threads()),
        python=platform.python_version(),
        torch=torch.__version__,
    )
    try:
        import timm
    except ImportError:
        return facts
    return dict(facts, timm=timm.__version__)


def _cpu_model() -> str:
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith('model name'):
                return line.partition(':')[2].strip()
    return platform.processor() or platform.machine()


def write_csv(path: str | Path, rows: Sequence[dict], facts: dict[str, str], command: str) -> None:
    """Write rows of one run; every row carries the machine and the command, so files can be joined."""
    rows = [dict(row, **facts, command=command) for row in rows]
    fields = list(dict.fromkeys(name for row in rows for name in row))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('w', newline='') as file:
        writer = csv.DictWriter(file, fields, lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
