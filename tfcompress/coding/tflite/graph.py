"""Adds tensors, constants and operators to a subgraph of a .tflite model."""

import hashlib

import numpy as np

from tfcompress.formats.tflite_file import schema
from tfcompress.formats.tflite_graphs import builtin_code

# Versions of the operators we write, where it is not the first: the runtime chooses the
# kernel's checks by it. UINT8 is in GATHER, RESHAPE and CAST since their first.
_VERSIONS = {"SLICE": 2, "DEQUANTIZE": 3}


class Graph:
    """A subgraph that grows.

    What it adds has no names, except where one is given: a name costs its bytes in the
    file for each tensor.

    Args:
        model: the schema's `ModelT`; operator codes and buffers are appended to it.
        subgraph: the schema's `SubGraphT` to append tensors to. Operators are returned,
            not appended: the caller decides where they go.
        buffers: dict of the buffers that the graphs of a model share, at first empty.
    """

    def __init__(self, model, subgraph, buffers):
        self.model = model
        self.subgraph = subgraph
        self.types = schema().TensorType
        self._fb = schema()
        self._buffers = buffers
        self._constants = {}

    def tensor(self, shape, dtype, name=None):
        """Adds a tensor.

        Args:
            shape: sizes; a size that is not known is -1.
            dtype: name of the schema's `TensorType`, such as "FLOAT32".
            name: str or None.
        Returns:
            Its index.
        """
        new = self._fb.TensorT()
        signature = np.asarray(shape, np.int32)
        new.shape = np.maximum(signature, 1)
        if (signature < 0).any():
            new.shapeSignature = signature
        new.type = getattr(self._fb.TensorType, dtype)
        new.name = None if name is None else name.encode()
        self.subgraph.tensors.append(new)
        return len(self.subgraph.tensors) - 1

    def signature(self, index):
        """Returns the shape of a tensor as a list, -1 where a size is not known."""
        tensor = self.subgraph.tensors[index]
        if tensor.shapeSignature is not None and len(tensor.shapeSignature):
            return tensor.shapeSignature.tolist()
        return [] if tensor.shape is None else tensor.shape.tolist()

    def constant(self, array, name=None):
        """Adds a constant; one that the graph or the model has already is shared.

        Args:
            array: float32, float16, int32, uint8 or int8.
            name: str or None.
        Returns:
            Index of its tensor.
        """
        digest = hashlib.sha256(array.tobytes()).digest()
        key = (array.dtype.name, array.shape, digest)
        if key not in self._constants:
            index = self.tensor(array.shape, array.dtype.name.upper(), name)
            self.subgraph.tensors[index].buffer = self._buffer(array, digest)
            self._constants[key] = index
        return self._constants[key]

    def operator(self, kind, inputs, outputs, options=None, **fields):
        """Makes an operator.

        Args:
            kind: name of the schema's `BuiltinOperator`, such as "GATHER".
            inputs: indices of tensors.
            outputs: indices of tensors.
            options: name of the schema's options table without its final T, or None.
            **fields: fields of that table.
        Returns:
            The schema's `OperatorT`.
        """
        new = self._fb.OperatorT()
        new.opcodeIndex = self._code(kind)
        new.inputs = np.asarray(inputs, np.int32)
        new.outputs = np.asarray(outputs, np.int32)
        if options is not None:
            new.builtinOptionsType = getattr(self._fb.BuiltinOptions, options)
            new.builtinOptions = getattr(self._fb, options + "T")()
            for name, value in fields.items():
                setattr(new.builtinOptions, name, value)
        return new

    def read_variable(self, shared_name, tensor):
        """Returns the operators that read a resource variable into a tensor."""
        handle, make_handle = self._variable_handle(shared_name)
        read = self.operator("READ_VARIABLE", [handle], [tensor], "ReadVariableOptions")
        return [make_handle, read]

    def assign_variable(self, shared_name, tensor):
        """Returns the operators that set a resource variable to a tensor."""
        handle, make_handle = self._variable_handle(shared_name)
        assign = self.operator(
            "ASSIGN_VARIABLE", [handle, tensor], [], "AssignVariableOptions"
        )
        return [make_handle, assign]

    def _variable_handle(self, shared_name):
        handle = self.tensor([1], "RESOURCE")
        return handle, self.operator(
            "VAR_HANDLE",
            [],
            [handle],
            "VarHandleOptions",
            container=b"",
            sharedName=shared_name,
        )

    def _code(self, kind):
        builtin = getattr(self._fb.BuiltinOperator, kind)
        version = _VERSIONS.get(kind, 1)
        for index, known in enumerate(self.model.operatorCodes):
            if builtin_code(known) == builtin and known.version >= version:
                return index
        new = self._fb.OperatorCodeT()
        new.builtinCode, new.version = builtin, version
        # Readers older than the 32-bit field look at this one.
        new.deprecatedBuiltinCode = min(builtin, 127)
        self.model.operatorCodes.append(new)
        return len(self.model.operatorCodes) - 1

    def _buffer(self, array, digest):
        if digest not in self._buffers:
            new = self._fb.BufferT()
            new.data = np.frombuffer(array.tobytes(), np.uint8)
            self.model.buffers.append(new)
            self._buffers[digest] = len(self.model.buffers) - 1
        return self._buffers[digest]
