import platform
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

# Page faults of taking 64 MiB ten times more, after it was taken and freed thirty times.
AGAIN = """
import resource, sys
import torch
from model_training.kept_memory import keep_freed_memory

def take_64_mib():
    torch.ones(16 * 1024 * 1024)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if sys.argv[1] == "kept":
    keep_freed_memory()
for _ in range(30):
    take_64_mib()
before = faults()
for _ in range(10):
    take_64_mib()
print(faults() - before)
"""


def faults(how):
    command = [sys.executable, "-c", AGAIN, how]
    return int(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library is told to keep memory")
def test_freed_memory_is_used_again_without_being_cleared():
    # 640 MiB are 320 pages of 2 MiB, where the kernel gives such, and 163,840 of 4 KiB.
    assert faults("given back") >= 320
    assert faults("kept") < 32
