"""On a CPU, what a tensor leaves is the next one's, without the system's help."""

import subprocess
import sys

import pytest

# Minor page faults while large tensors come and go, then the memory that is resident.
PROGRAM = """
import os, resource, sys
from pathlib import Path
import torch
from dlcexp.runs.memory import keep_freed_memory, return_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
held = [torch.ones(2**24) for _ in range(4)]
del held
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
resident = lambda: int(Path("/proc/self/statm").read_text().split()[1])
before = resident()
return_freed_memory()
print((before - resident()) * os.sysconf("SC_PAGE_SIZE") // 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's own settings")
def test_pages_of_freed_tensors_are_used_again_and_can_be_returned() -> None:
    faults, returned = measured("kept")
    faults_before, _ = measured("as the library does by itself")
    assert faults_before > 20  # each tensor had new pages
    assert faults < faults_before / 2  # a busy system may take back pages of its own accord
    assert returned > 200  # MB, of the four tensors' 256


def measured(how: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
    )
    return [int(line) for line in done.stdout.split()]
