"""What the C library does with freed memory."""

from __future__ import annotations

from functools import cache

import torch

__all__ = ['keep_freed_memory']

# Just below the 32 MiB at which glibc's dynamic threshold ends (mallopt(3), M_MMAP_THRESHOLD).
LARGEST = 2**25 - 2**14


@cache
def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MiB of freed memory instead of giving it back to the system after every layer.

    glibc raises its thresholds for mapping and for giving back memory by itself, to once and twice the largest mapped
    block that was freed so far. One such block, allocated, never touched and freed, does that in advance; a forward
    at 512 x 512 then takes up to a tenth less time on a CPU (docs/performance.md). Elsewhere nothing happens. It holds
    for the whole process, so programs call it and layers do not.
    """
    torch.empty(LARGEST, dtype=torch.uint8, device='cpu')
