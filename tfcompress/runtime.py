"""One way to run a model file, whatever its format, on the stock runtime of that format.

A session takes named arrays and returns named arrays; the leading dimension of each is
the batch. A runtime is imported when its first session is opened, so that a device needs
the package of its own runtime and no other.
"""

import contextlib
import dataclasses
import os
import pathlib
import textwrap
import zipfile

import numpy as np

from tfcompress.errors import ArtifactError, InvalidValueError, require

RUNTIMES = {
    "tflite": "litert",
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "keras": "tensorflow",
}
"""Format of a model file -> the runtime that opens it."""

_MAIN_SUFFIXES = {
    "tflite": ".tflite",
    "onnx": ".onnx",
    "openvino": ".xml",
    "keras": ".keras",
}


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """Name, shape and dtype of an input or an output of a model.

    Attributes:
        name: the tensor's name in the model.
        shape: sizes; None where any size will do, as for the batch.
        dtype: numpy's name of the element type, such as "int32".
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class Session:
    """A model that is loaded and ready to run. Made by `load_session`.

    Attributes:
        inputs: tuple of `TensorSpec`, as the model file states them.
    """

    def __init__(self, path, runtime, inputs, invoke, errors):
        self._path = path
        self._runtime = runtime
        self.inputs = inputs
        self._invoke = invoke
        self._errors = errors

    def run(self, inputs):
        """Runs the model once.

        Args:
            inputs: dict of name -> array; every input of the model, its dtype as in
                `inputs` and one leading dimension (the batch) for all.
        Returns:
            Dict of output name -> array, the batch leading.
        Raises:
            InvalidValueError: if names, shapes or dtypes are not the model's. LiteRT
                and OpenVINO would compute something of a wrong length or dtype.
            ArtifactError: if the runtime cannot compute it.
        """
        check_inputs(self.inputs, inputs)
        if self._invoke is None:
            raise InvalidValueError(
                f"The session of {str(self._path)!r} is closed; open another one."
            )
        with _refusals(self._path, self._runtime, self._errors, "run"):
            return self._invoke(inputs)

    def close(self):
        """Lets go of the runtime's memory. Closing twice does nothing."""
        self._invoke = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def load_session(format, folder, files, *, precision="float32", num_threads=2):
    """Opens a model on the runtime of its format.

    Args:
        format: "tflite", "onnx", "openvino" or "keras".
        folder: the folder that the files lie in.
        files: names of the model's files; one of them is the main file, known by its
            suffix (.tflite, .onnx, .xml, .keras).
        precision: of the arithmetic. "bfloat16" lets OpenVINO compute in it where the
            CPU can; with anything else it is held to float32, which it would leave by
            itself on CPUs with AMX or AVX512-BF16. The others take it from the file.
        num_threads: threads of one run. TensorFlow's belong to the process: the first
            session of a process sets them.
    Returns:
        A `Session`.
    Raises:
        InvalidValueError: if the format is not known or `num_threads` is not positive.
        ArtifactError: if a file is missing or the runtime refuses it.
        MissingDependencyError: if the runtime is not installed.
    """
    _check_format(format)
    if num_threads < 1:
        raise InvalidValueError(f"num_threads must be positive, got {num_threads!r}.")
    path = _main_file(format, pathlib.Path(folder), files)
    import_runtime(format)
    inputs, invoke, errors = _OPENERS[format](path, precision, num_threads)
    return Session(path, RUNTIMES[format], inputs, invoke, errors)


def import_runtime(format):
    """Imports the runtime of a format, so that loading a model is timed without it.

    Args:
        format: "tflite", "onnx", "openvino" or "keras".
    Returns:
        The runtime's module.
    Raises:
        InvalidValueError: if the format is not known.
        MissingDependencyError: if the runtime is not installed.
    """
    _check_format(format)
    if format == "tflite":
        return require("ai_edge_litert.interpreter", extra="tflite")
    if format == "onnx":
        return require("onnxruntime", extra="onnx")
    if format == "openvino":
        return require("openvino", extra="openvino")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    require("tensorflow", extra="compress")
    return require("keras", extra="compress")


def check_inputs(specs, inputs):
    """Checks named arrays against what a model takes.

    Args:
        specs: sequence of `TensorSpec`.
        inputs: dict of name -> array.
    Raises:
        InvalidValueError: if a name is missing or unknown, a dtype or shape is not the
            spec's, or the arrays differ in their leading dimension.

    >>> import numpy as np
    >>> check_inputs([TensorSpec("x", (None, 2), "int32")], {"x": np.zeros((5, 2), "i4")})
    """
    names = [spec.name for spec in specs]
    for name in inputs:
        if name not in names:
            raise InvalidValueError(
                f"The model has no input {name!r}; its inputs are {names}."
            )
    for spec in specs:
        if spec.name not in inputs:
            raise InvalidValueError(
                f"Input {spec.name!r} is missing; the model's inputs are {names}."
            )
        _check_array(spec, inputs[spec.name])
    batches = {name: len(array) for name, array in inputs.items()}
    if len(set(batches.values())) > 1:
        raise InvalidValueError(
            "All inputs need the same leading dimension (the batch), got "
            + ", ".join(f"{size} for {name!r}" for name, size in batches.items())
            + "."
        )


def _check_array(spec, array):
    dtype = getattr(array, "dtype", None)
    if dtype is None:
        raise InvalidValueError(
            f"Input {spec.name!r} must be a numpy array, got {type(array).__name__}."
        )
    if dtype != spec.dtype:
        raise InvalidValueError(
            f"Input {spec.name!r} must have dtype {spec.dtype!r}, got {str(dtype)!r}. "
            f"Convert it with .astype({spec.dtype!r})."
        )
    fits = array.ndim == len(spec.shape) and all(
        want is None or want == size
        for want, size in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise InvalidValueError(
            f"Input {spec.name!r} must have shape {spec.shape}, got {array.shape}."
        )


def _check_format(format):
    if format not in RUNTIMES:
        raise InvalidValueError(
            f"Unknown format {format!r}; choose one of {', '.join(map(repr, RUNTIMES))}."
        )


def _main_file(format, folder, files):
    suffix = _MAIN_SUFFIXES[format]
    main = [name for name in files if name.endswith(suffix)]
    if len(main) != 1:
        raise ArtifactError(
            f"A model of format {format!r} has one {suffix} file; "
            f"{str(folder)!r} lists {sorted(files)}."
        )
    for name in files:
        if not (folder / name).is_file():
            raise ArtifactError(f"{str(folder / name)!r} is missing.")
    return folder / main[0]


@contextlib.contextmanager
def _refusals(path, runtime, errors, action):
    """Turns the errors by which a runtime refuses a file into one line."""
    try:
        yield
    except errors as error:
        reason = " ".join(
            line.strip()
            for line in str(error).splitlines()
            if not line.startswith("Exception from ")  # OpenVINO's own call stack
        )
        raise ArtifactError(
            f"{runtime} cannot {action} {str(path)!r}: "
            f"{textwrap.shorten(reason, 300) or type(error).__name__}"
        ) from error


def _open_litert(path, precision, num_threads):
    del precision  # the file has it
    litert = import_runtime("tflite")
    errors = (ValueError, RuntimeError)
    with _refusals(path, "litert", errors, "load"):
        interpreter = litert.Interpreter(str(path), num_threads=num_threads)
        interpreter.allocate_tensors()
    inputs = interpreter.get_input_details()
    outputs = interpreter.get_output_details()
    input_names, output_names = _litert_names(interpreter, inputs, outputs)
    specs = tuple(
        TensorSpec(
            name,
            tuple(None if n < 0 else int(n) for n in detail["shape_signature"]),
            np.dtype(detail["dtype"]).name,
        )
        for name, detail in zip(input_names, inputs, strict=True)
    )
    indices = {
        name: detail["index"] for name, detail in zip(input_names, inputs, strict=True)
    }
    shapes = {}

    def invoke(arrays):
        # Not through the signature's runner: it allocates again in every call, which
        # prepares the whole graph anew where a file decodes its weights.
        new_shapes = {name: array.shape for name, array in arrays.items()}
        if new_shapes != shapes:
            for name, shape in new_shapes.items():
                interpreter.resize_tensor_input(indices[name], shape)
            interpreter.allocate_tensors()
            shapes.update(new_shapes)
        for name, array in arrays.items():
            interpreter.set_tensor(indices[name], array)
        interpreter.invoke()
        return {
            name: interpreter.get_tensor(detail["index"])
            for name, detail in zip(output_names, outputs, strict=True)
        }

    return specs, invoke, errors


def _litert_names(interpreter, inputs, outputs):
    """Returns the names of the main graph's inputs and outputs.

    They are those of the signature on the main graph; a file without signatures has the
    names of its tensors.
    """
    for key in interpreter.get_signature_list():
        runner = interpreter.get_signature_runner(key)
        names = []
        for details, named in (
            (inputs, runner.get_input_details()),
            (outputs, runner.get_output_details()),
        ):
            by_tensor = {(d["index"], d["name"]): name for name, d in named.items()}
            names.append([by_tensor.get((d["index"], d["name"])) for d in details])
        if None not in names[0] and None not in names[1]:
            return names
    return [d["name"] for d in inputs], [d["name"] for d in outputs]


def _open_onnxruntime(path, precision, num_threads):
    del precision  # the file has it
    onnxruntime = import_runtime("onnx")
    errors = _onnxruntime_errors()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only
    with _refusals(path, "onnxruntime", errors, "load"):
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    dtypes = {"float": "float32", "double": "float64"}
    specs = []
    for node in session.get_inputs():
        element = node.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(n if isinstance(n, int) else None for n in node.shape)
        specs.append(TensorSpec(node.name, shape, dtypes.get(element, element)))
    names = [node.name for node in session.get_outputs()]

    def invoke(arrays):
        return dict(zip(names, session.run(names, arrays), strict=True))

    return tuple(specs), invoke, errors


def _onnxruntime_errors():
    """Returns ONNX Runtime's exceptions; they have no base but Exception."""
    state = require("onnxruntime.capi.onnxruntime_pybind11_state", extra="onnx")
    return tuple(
        value
        for value in vars(state).values()
        if isinstance(value, type) and issubclass(value, Exception)
    )


def _open_openvino(path, precision, num_threads):
    openvino = import_runtime("openvino")
    errors = (RuntimeError, ValueError)
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": num_threads,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32",
    }
    with _refusals(path, "openvino", errors, "load"):
        # The weights are named, so that no other file can slip in.
        model = core.read_model(str(path), str(path.with_suffix(".bin")))
        compiled = core.compile_model(model, "CPU", settings)
    specs = tuple(
        TensorSpec(
            # A tensor may have several names; the converters' own are the longer.
            min(port.get_names(), key=lambda name: (len(name), name)),
            tuple(None if n.is_dynamic else n.get_length() for n in port.partial_shape),
            np.dtype(port.element_type.to_dtype()).name,
        )
        for port in compiled.inputs
    )
    names = [sorted(port.get_names()) for port in compiled.outputs]
    request = compiled.create_infer_request()

    def invoke(arrays):
        results = request.infer(arrays)
        return {
            name: results[index]
            for index, aliases in enumerate(names)
            for name in aliases
        }

    return specs, invoke, errors


def _open_keras(path, precision, num_threads):
    del precision  # the file has it
    if not zipfile.is_zipfile(path):
        raise ArtifactError(
            f"tensorflow cannot load {str(path)!r}: it is damaged or no .keras file."
        )
    keras = import_runtime("keras")
    import tensorflow as tf

    if keras.backend.backend() != "tensorflow":
        raise InvalidValueError(
            "A .keras file is run on TensorFlow, but the Keras backend of this process "
            f"is {keras.backend.backend()!r}; set KERAS_BACKEND=tensorflow."
        )
    # Refused once TensorFlow has run something in this process.
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    errors = (ValueError, TypeError, KeyError, OSError, RuntimeError, tf.errors.OpError)
    with _refusals(path, "tensorflow", errors, "load"):
        loaded = keras.saving.load_model(path, compile=False, safe_mode=True)
        # The same graph with lists as its inputs and outputs, whatever the user chose.
        model = keras.Model(list(loaded.inputs), list(loaded.outputs))
    specs = tuple(
        TensorSpec(tensor.name, tuple(tensor.shape), tensor.dtype)
        for tensor in model.inputs
    )
    signature = [tf.TensorSpec(spec.shape, spec.dtype) for spec in specs]

    @tf.function(input_signature=[signature])
    def call(tensors):
        return model(tensors, training=False)

    def invoke(arrays):
        outputs = call([arrays[spec.name] for spec in specs])
        return {
            name: output.numpy()
            for name, output in zip(model.output_names, outputs, strict=True)
        }

    return specs, invoke, errors


_OPENERS = {
    "tflite": _open_litert,
    "onnx": _open_onnxruntime,
    "openvino": _open_openvino,
    "keras": _open_keras,
}
