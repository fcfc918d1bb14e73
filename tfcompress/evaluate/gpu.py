"""What NVIDIA's management library (NVML) says of the GPU, where it is installed."""

import contextlib
import os


def process_gpu_bytes():
    """Returns the bytes of GPU memory that this process has, on all GPUs.

    Returns:
        `int`; None where the package `nvidia-ml-py` or a driver is not there, or NVML
        does not know the process, as in a container with process numbers of its own.

    Source: nvmlDeviceGetComputeRunningProcesses of the NVML API reference.
    """
    with _nvml() as nvml:
        if nvml is None:
            return None
        used = [
            process.usedGpuMemory
            for index in range(nvml.nvmlDeviceGetCount())
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(
                nvml.nvmlDeviceGetHandleByIndex(index)
            )
            if process.pid == os.getpid()
        ]
    return sum(used) if used and None not in used else None


def gpu_name():
    """Returns the name of the first GPU; None where NVML knows none."""
    with _nvml() as nvml:
        if nvml is None or not nvml.nvmlDeviceGetCount():
            return None
        return nvml.nvmlDeviceGetName(nvml.nvmlDeviceGetHandleByIndex(0))


@contextlib.contextmanager
def _nvml():
    """Yields NVML's module, ready; None where it cannot be had."""
    try:
        import pynvml
    except ModuleNotFoundError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()
