"""From the format of a model's files to a session on its runtime."""

import importlib
import pathlib

from tfcompress.errors import ArtifactError, InvalidValueError, ModelFileError
from tfcompress.foreign import foreign_errors, reason_of
from tfcompress.formats import format_named
from tfcompress.limits import check_path
from tfcompress.runtime.session import refusal


def load_session(
    format,
    folder,
    files,
    *,
    precision="float32",
    num_threads=2,
    runtime=None,
    device="cpu",
):
    """Opens a model on a runtime of its format.

    Args:
        format: "tflite", "onnx", "openvino" or "keras".
        folder: the folder that the files lie in.
        files: names of the model's files; the main one is known by its suffix (.tflite,
            .onnx, .xml, .keras).
        precision: of the arithmetic. "bfloat16" lets OpenVINO compute in it; with
            anything else it is held to float32, which it would leave by itself on CPUs
            with AMX or AVX512-BF16. The others take it from the file.
        num_threads: threads of one run. TensorFlow's belong to the process: they are
            set by the first session of a process that has run nothing before; JAX's
            are those of `child_environment`.
        runtime: name of the runtime; None takes the format's first.
        device: "cpu" or "gpu".
    Returns:
        A `Session`.
    Raises:
        InvalidValueError: if the format is not known, the runtime does not run it
            there, `num_threads` is not positive, or the device is not there or cannot
            compute in the precision.
        ArtifactError: if a file is missing or the runtime refuses it.
        MissingDependencyError: if the runtime is not installed.
    """
    format = format_named(format)
    runtime = _runtime(format, runtime, device)
    module = _module(runtime)
    if num_threads < 1:
        raise InvalidValueError(f"num_threads must be positive, got {num_threads!r}.")
    try:
        folder = check_path(folder)
    except ValueError as error:
        raise ArtifactError(f"There is no model to open: {error}") from error
    path = _main_file(format.suffixes, folder, files)
    try:
        with foreign_errors(lambda reason: refusal(runtime, "load", path, reason)):
            return module.open_session(
                path, precision=precision, num_threads=num_threads, device=device
            )
    except (ModelFileError, OSError) as error:
        raise refusal(runtime, "load", path, reason_of(error)) from error


def import_runtime(format, runtime=None):
    """Imports a runtime of a format, so that loading a model is timed without it.

    Args:
        format: "tflite", "onnx", "openvino" or "keras".
        runtime: as of `load_session`.
    Raises:
        InvalidValueError: if the format is not known.
        MissingDependencyError: if the runtime is not installed.
    """
    _module(_runtime(format_named(format), runtime, "cpu")).import_runtime()


def operators_elsewhere(format, folder, files, *, runtime=None, device="cpu"):
    """Lists the operators of a model that do not run on the device that is asked for.

    Args:
        format, folder, files, runtime, device: as of `load_session`.
    Returns:
        Sorted tuple of the operators' kinds, as the runtime names them; None where it
        does not tell. On the CPU there is no other device, and it is empty.
    Raises:
        As `load_session`.
    """
    if device == "cpu":
        return ()
    format = format_named(format)
    runtime = _runtime(format, runtime, device)
    path = _main_file(format.suffixes, pathlib.Path(folder), files)
    with foreign_errors(lambda reason: refusal(runtime, "load", path, reason)):
        return _module(runtime).operators_elsewhere(path, device)


def _runtime(format, name, device):
    """Returns the name of the runtime, which need not be installed."""
    runtime = format.runtime if name is None else format.runtime_named(name)
    if device not in runtime.devices:
        format.runtime_on(device, runtime.name)  # says what there is
    return runtime.name


def _module(runtime):
    return importlib.import_module(f"tfcompress.runtime.{runtime}")


def _main_file(suffixes, folder, files):
    """Returns the path of the main file; the others have its name, but their suffix."""
    main = [name for name in files if name.endswith(suffixes[0])]
    needed = [pathlib.Path(name).with_suffix(s).name for name in main for s in suffixes]
    if len(main) != 1 or not set(needed) <= set(files):
        raise ArtifactError(
            f"The model in {str(folder)!r} needs one file of each suffix "
            f"{' and '.join(suffixes)}, of one name; its files are {sorted(files)}."
        )
    for name in files:
        if not (folder / name).is_file():
            raise ArtifactError(f"{str(folder / name)!r} is missing.")
    return folder / main[0]
