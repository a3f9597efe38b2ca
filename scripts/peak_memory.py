"""The most memory that a process has held."""

import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory() -> int:
    """Return the most memory that this process has held since its program began, in bytes.

    Linux counts in `ru_maxrss` what the parent held when it started this program, too.
    """
    if STATUS.is_file():
        lines = STATUS.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
