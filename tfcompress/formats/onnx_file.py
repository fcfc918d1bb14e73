"""Reads and writes .onnx files, and walks the places where constants stand.

A constant is an initializer of a graph or the value of a Constant node, in the main
graph, in the body of an If, Loop or Scan, or in a function of the model. `scopes`
lists these bodies, always in the same order.

Source: the ONNX specification, onnx.proto of IR version 3 to 14 (docs/IR.md).
"""

import dataclasses
import pathlib
import shutil

import numpy as np

from tfcompress.errors import ModelFileError, require
from tfcompress.foreign import foreign_errors
from tfcompress.formats.constants import Constant, pack_halves, to_bytes
from tfcompress.formats.onnx_external import is_external, load_external
from tfcompress.formats.quantized_constants import find_onnx_quantizations
from tfcompress.limits import shown

# ONNX's name of a type, in small letters -> ours, where that is another.
_NAMES = {"float": "float32", "double": "float64"}
_HALVES = ("int4", "uint4")  # of which numpy has one in a byte

_MARK = "tfcompress.coding"
_MARK_VERSION = "1"

# Reshape takes its shape as an input since 5, Cast names the type by a number since 6;
# Add and Mul broadcast, and ONNX Runtime opens files, since 7.
MIN_OPSET = 7

# Initializers stand alone since IR version 4; before, each is a graph input as well.
_FIRST_IR_WITH_LONE_INITIALIZERS = 4

_MAX_MESSAGE_BYTES = 2**31 - 1

# A protobuf message cannot be larger. Some room is left for the nodes.
MAX_SINGLE_FILE_BYTES = 2**31 - 2**26


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """A graph, the body of a control flow operator, or the body of a function.

    Attributes:
        body: the GraphProto or FunctionProto.
        parent: the scope whose names can be read here too; None for the main graph and
            for functions.
        opset: version of the standard operators in use; 0 if none are imported.
        takes_initializers: new constants may be initializers; else they have to be
            Constant nodes.
    """

    body: object
    parent: "Scope | None"
    opset: int
    takes_initializers: bool

    @property
    def root(self):
        """The outermost scope, whose constants can be read here."""
        return self if self.parent is None else self.parent.root

    @property
    def initializers(self):
        """The initializers; functions have none."""
        return getattr(self.body, "initializer", ())

    @property
    def input_names(self):
        """Names of the inputs."""
        return set(map(_name, self.body.input))


def scopes(model):
    """Yields every `Scope` of a ModelProto, the outer ones first."""
    takes_initializers = model.ir_version >= _FIRST_IR_WITH_LONE_INITIALIZERS
    opset = _standard_opset(model.opset_import)
    yield from _walk(Scope(model.graph, None, opset, takes_initializers))
    for function in model.functions:
        opset = _standard_opset(function.opset_import)
        yield from _walk(Scope(function, None, opset, False), takes_initializers)


def constants(scope):
    """Yields (name, TensorProto) of every constant that stands in a scope itself."""
    for tensor in scope.initializers:
        yield tensor.name, tensor
    for node in scope.body.node:
        if is_constant_node(node):
            yield node.output[0], node.attribute[0].t


def tensors(scope):
    """Yields (name, TensorProto) of all that stands in a scope itself: its constants,
    and what nodes of other kinds hold, by the name of what they make."""
    for tensor in scope.initializers:
        yield tensor.name, tensor
    for node in scope.body.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield node.output[0], attribute.t


def is_constant_node(node):
    """Returns True for a Constant node that holds a tensor."""
    return (
        node.op_type == "Constant"
        and node.domain in ("", "ai.onnx")
        and len(node.attribute) == len(node.output) == 1
        and node.attribute[0].name == "value"
        and not node.attribute[0].ref_attr_name
    )


def has_weight_type(tensor):
    """Returns True if the elements of a TensorProto are of a type for weights: numbers
    of 2 to 8 bytes with a fraction, or integers of one byte."""
    types = require("onnx", extra="coding").TensorProto
    return tensor.data_type in (
        types.FLOAT,
        types.FLOAT16,
        types.BFLOAT16,
        types.DOUBLE,
        types.INT8,
        types.UINT8,
    )


def read_array(tensor, name, path):
    """Returns the values of a TensorProto as an array.

    Args:
        tensor: the TensorProto; where its values lie in another file, they are read
            from there, and the tensor stays as it is.
        name: what the message calls it.
        path: `pathlib.Path` of the model's file.
    Raises:
        ModelFileError: if there are more or fewer values than the shape says, or they
            cannot be read.
    """
    onnx = require("onnx", extra="coding")
    if is_external(tensor):
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        load_external(copy, path)
        tensor = copy

    def damaged(reason):
        return ModelFileError(
            f"{str(path)!r} is damaged: the weight {shown(name)} of shape "
            f"{tuple(tensor.dims)} lacks values ({reason}). Export or copy the model "
            "again."
        )

    with foreign_errors(damaged):
        if min(tensor.dims, default=0) < 0:
            raise ValueError("a size is negative")
        return np.ascontiguousarray(onnx.numpy_helper.to_array(tensor))


def read_model(path):
    """Reads an .onnx file, with the weights that it keeps in other files.

    Args:
        path: `pathlib.Path` of the file.
    Returns:
        (ModelProto, tuple of the names of its other files, relative to its folder).
    Raises:
        ModelFileError: if the file is no whole ONNX model, or its weights are not
            beside it.
        OSError: if it cannot be read.
    """
    model = parse_model(path)
    names = {}
    for scope in scopes(model):
        for _, tensor in constants(scope):
            if is_external(tensor):
                names[pathlib.PurePath(load_external(tensor, path))] = None
    return model, tuple(str(name) for name in names)


def parse_model(path):
    """Reads an .onnx file alone; what it keeps in other files stays there.

    Args, Raises: as of `read_model`.
    Returns:
        The ModelProto.
    """
    onnx = require("onnx", extra="coding")
    from google.protobuf.message import DecodeError

    if (size := path.stat().st_size) > _MAX_MESSAGE_BYTES:
        raise ModelFileError(
            f"{str(path)!r} has {size:,} bytes, more than an ONNX file can: protobuf "
            "ends at 2 GB. Keep its weights in a file beside it (onnx.save_model with "
            "save_as_external_data=True)."
        )
    data = path.read_bytes()
    if not data:
        raise ModelFileError(f"{str(path)!r} is empty. Export or copy the model again.")
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError as error:
        raise ModelFileError(
            f"{str(path)!r} is not an ONNX model, or is truncated. Export or copy the "
            "model again."
        ) from error
    _check_texts(model, path)
    if not model.graph.output or not model.opset_import:
        raise ModelFileError(
            f"{str(path)!r} is not a whole ONNX model: it lacks outputs or an opset. "
            "Export or copy the model again."
        )
    return model


def read_constants(path):
    """Yields a `Constant` of each constant of an .onnx file but scales and zero points.

    Weights in other files are read with their constant, one at a time.

    Args:
        path: `pathlib.Path` of the file.
    """
    onnx = require("onnx", extra="coding")
    model = parse_model(path)
    bodies = list(scopes(model))
    known = dict(each for scope in bodies for each in tensors(scope))
    quantizations, parameters = find_onnx_quantizations(
        [node for scope in bodies for node in scope.body.node],
        known,
        lambda tensor: read_array(tensor, tensor.name, path),
    )
    for name, tensor in (each for scope in bodies for each in tensors(scope)):
        if name not in parameters and tensor.data_type != onnx.TensorProto.STRING:
            dtype = onnx.TensorProto.DataType.Name(tensor.data_type).lower()
            data = to_bytes(read_array(tensor, name, path))
            yield Constant(
                name=name,
                shape=tuple(tensor.dims),
                dtype=_NAMES.get(dtype, dtype),
                data=pack_halves(data) if dtype in _HALVES else data,
                quantization=quantizations.get(name),
            )


def write_model(model, target):
    """Writes a ModelProto: one file, or two where it is too large for one.

    Args:
        model: the ModelProto.
        target: `pathlib.Path` to write. Weights that do not fit in 2 GB go to
            `<target's name>.data` beside it, and `target` names that file: both may
            move, but keep their names. The model comes back without them.
    Returns:
        Tuple of the names of the other files.
    """
    onnx = require("onnx", extra="coding")
    if _constant_bytes(model) <= MAX_SINGLE_FILE_BYTES:
        target.write_bytes(model.SerializeToString(deterministic=True))
        return ()
    location = f"{target.name}.data"
    # An existing file would be appended to.
    target.with_name(location).unlink(missing_ok=True)
    onnx.save_model(
        model,
        str(target),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=location,
    )
    return (location,)


def remove_model(path, external_names):
    """Removes an .onnx file and its other files."""
    for file in [path, *(path.parent / name for name in external_names)]:
        file.unlink()


def copy_model(source, target, external_names):
    """Copies an .onnx file and its other files as they are."""
    shutil.copyfile(source, target)
    for name in external_names:
        copy = target.parent / name
        if copy.resolve() != (source.parent / name).resolve():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.parent / name, copy)


def num_bytes(path, external_names):
    """Returns the bytes of a model with all its files."""
    files = [path, *(path.parent / name for name in external_names)]
    return sum(file.stat().st_size for file in files)


def complaint(path, *, full_check=False):
    """Returns what ONNX's own checker has against a file; None if nothing.

    Args:
        path: `pathlib.Path` of the file.
        full_check: whether the shapes that it infers are checked too.
    """
    onnx = require("onnx", extra="coding")
    errors = (onnx.checker.ValidationError, onnx.shape_inference.InferenceError)
    try:
        with foreign_errors(ModelFileError, passing=errors):
            onnx.checker.check_model(str(path), full_check=full_check)
    except errors as error:
        return str(error).strip().partition("\n")[0]
    except ModelFileError as error:
        return str(error)
    return None


def mark_as_coded(model):
    """Adds the metadata entry that `is_coded` finds."""
    model.metadata_props.add(key=_MARK, value=_MARK_VERSION)


def is_coded(model):
    """Returns True if `mark_as_coded` was here."""
    return any(entry.key == _MARK for entry in model.metadata_props)


def _walk(scope, takes_initializers=None):
    if takes_initializers is None:
        takes_initializers = scope.takes_initializers
    yield scope
    for node in scope.body.node:
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.HasField("g") else attribute.graphs
            for graph in graphs:
                yield from _walk(Scope(graph, scope, scope.opset, takes_initializers))


def _standard_opset(imports):
    versions = [entry.version for entry in imports if entry.domain in ("", "ai.onnx")]
    return max(versions, default=0)


def _constant_bytes(model):
    return sum(
        tensor.ByteSize() for scope in scopes(model) for _, tensor in constants(scope)
    )


def _check_texts(model, path):
    """Refuses names that are no UTF-8, which protobuf hands out as bytes."""
    for scope in scopes(model):
        body = scope.body
        names = [*map(_name, body.input), *map(_name, body.output)]
        names += [tensor.name for tensor in scope.initializers]
        for node in body.node:
            names += [node.name, node.op_type, node.domain, *node.input, *node.output]
            names += [attribute.name for attribute in node.attribute]
        wrong = next((name for name in names if not isinstance(name, str)), None)
        if wrong is not None:
            raise ModelFileError(
                f"{str(path)!r} has the name {shown(wrong)}, which is not UTF-8: it is "
                "damaged, or written by a tool that keeps to no rule. Export or copy "
                "the model again."
            )


def _name(value):
    return getattr(value, "name", value)
