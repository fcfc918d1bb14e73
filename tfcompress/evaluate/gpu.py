"""What NVIDIA's management library (NVML) says of the GPU, where it is installed."""

import os


def process_gpu_bytes():
    """Returns the bytes of GPU memory that this process has, on all GPUs.

    Returns:
        `int`; None where the package `nvidia-ml-py` or a driver is not there, or NVML
        does not know the process, as in a container with process numbers of its own.

    Source: nvmlDeviceGetComputeRunningProcesses of the NVML API reference.
    """

    def used_bytes(nvml):
        used = [
            process.usedGpuMemory
            for index in range(nvml.nvmlDeviceGetCount())
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(
                nvml.nvmlDeviceGetHandleByIndex(index)
            )
            if process.pid == os.getpid()
        ]
        return sum(used) if used and None not in used else None

    return _ask(used_bytes)


def gpu_name():
    """Returns the name of the first GPU; None where NVML knows none."""

    def name(nvml):
        return nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(0))

    return _ask(name)


def _ask(question):
    """Returns what a function of NVML's module returns; None where it cannot tell."""
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
        try:
            return question(pynvml)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no driver, no GPU, or one that does not tell
        return None
