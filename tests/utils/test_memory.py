"""Memory that is kept when it is freed."""

import platform
import subprocess
import sys

import pytest

WHERE = """
import torch
{prepare}
address = torch.empty(30 * 2**20, dtype=torch.uint8).data_ptr()
heaps = [line.split()[0].split('-') for line in open('/proc/self/maps') if '[heap]' in line]
print(any(int(first, 16) <= address < int(last, 16) for first, last in heaps))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another C library')
@pytest.mark.parametrize(
    'prepare,kept', [('', False), ('from mmhyena.utils.memory import keep_freed_memory; keep_freed_memory()', True)]
)
def test_large_maps_come_from_memory_that_is_kept(prepare, kept):
    script = WHERE.format(prepare=prepare)
    run = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == str(kept)
