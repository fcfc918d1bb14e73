"""Which devices a runtime finds on this machine.

    python -m tfcompress.runtime.devices RUNTIME RESPONSE.json

It is asked in a process of its own: one that has asked for a GPU may keep memory of it,
and a process has Keras on one backend alone.
"""

import functools
import importlib
import sys

from tfcompress.atomic import temporary_folder, write_json
from tfcompress.errors import InvalidValueError
from tfcompress.formats import runtime_named
from tfcompress.limits import read_json
from tfcompress.processes import child_environment, describe_end, run_child

_TIMEOUT_SECONDS = 300


@functools.cache
def find_devices(name):
    """Asks a runtime for its devices, once.

    Args:
        name: of the runtime, which is installed.
    Returns:
        Dict of the runtime's own name of a device to "cpu", "gpu" or another kind.
    Raises:
        InvalidValueError: if there is no such runtime, or it fails to tell.
    """
    runtime = runtime_named(name)
    with temporary_folder() as folder:
        response, output = folder / "devices.json", folder / "output.txt"
        status = run_child(
            "tfcompress.runtime.devices",
            [runtime.name, response],
            environment=child_environment(1, device="gpu") | dict(runtime.environment),
            output_path=output,
            timeout_seconds=_TIMEOUT_SECONDS,
        )
        if status != 0:
            printed = output.read_text(encoding="utf-8", errors="replace")
            end = describe_end(status, printed, _TIMEOUT_SECONDS)
            raise InvalidValueError(f"To ask {runtime.name} for its devices {end}")
        return read_json(response)


def has_device(runtime, device):
    """Returns whether a runtime is installed and finds a device here.

    Args:
        runtime: `Runtime`.
        device: "cpu", which is there, or "gpu".
    Raises:
        InvalidValueError: if it fails to tell.
    """
    if not runtime.is_installed:
        return False
    return device == "cpu" or device in find_devices(runtime.name).values()


def check_device(runtime, device):
    """Raises `InvalidValueError` if a runtime does not find a device here.

    Args:
        runtime: `Runtime`, installed.
        device: as of `has_device`.
    """
    if not has_device(runtime, device):
        found = find_devices(runtime.name)
        raise InvalidValueError(
            f"There is no device {device!r} here that {runtime.name} can use: it finds "
            f"{', '.join(found)}. Leave {device} out of --devices, or install its "
            f"drivers and the build of {runtime.package!r} that uses it."
        )


def main(arguments):
    """Writes what one runtime finds.

    Args:
        arguments: name of the runtime, and path of the response.
    """
    runtime, response = arguments
    module = importlib.import_module(f"tfcompress.runtime.{runtime}")
    write_json(response, module.list_devices())


if __name__ == "__main__":
    main(sys.argv[1:])
