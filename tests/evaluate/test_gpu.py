"""What NVML says, or that it says nothing."""

from tfcompress.evaluate.gpu import gpu_name, process_gpu_bytes


def test_process_that_uses_no_gpu_has_no_bytes_there():
    assert process_gpu_bytes() is None


def test_gpu_name_is_a_text_or_not_known():
    name = gpu_name()
    assert name is None or name.strip()
