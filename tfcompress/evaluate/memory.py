"""The most memory that this process has had."""

import pathlib
import sys

_STATUS = pathlib.Path("/proc/self/status")


def peak_rss_bytes():
    """Returns the peak resident set of this process, in bytes.

    On Linux it is the kernel's VmHWM, which starts anew with the program. `ru_maxrss`
    of getrusage does not: a process that another one starts reports at least what its
    parent had, so that a worker would report the memory of the experiment.

    Source: proc(5), getrusage(2).
    """
    if _STATUS.exists():
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
