"""Codes the weights of an ONNX file.

Any file of opset 7 or newer, whoever wrote it: initializers and Constant nodes, of
floating-point numbers or of integers of 8 bits, of the main graph, of subgraphs and of
functions. Opset, IR version, names, metadata and everything else stay as they are;
weights in other files come into the one. The decoder (`onnx_decoder`) is made of
standard operators that ONNX Runtime evaluates when it loads the model, before it looks
for integer kernels, so that the results and the latency are the dense file's.

Limits: a bitmap needs CumSum, opset 11. Left dense are initializers that a caller may
override: those that are graph inputs too, from IR version 4 on (in older files all are,
and ONNX Runtime takes them for constants). The memory of the loaded model is the dense
one's. With ONNX Runtime's graph optimizations off the weights are decoded in every run.
"""

import dataclasses
import hashlib
import math

from tfcompress.coding import codes, onnx_decoder
from tfcompress.coding.leave import check_patterns, reason_to_leave
from tfcompress.coding.onnx_check import Expected, check_coded_model
from tfcompress.coding.result import CodedTensor, CodingResult
from tfcompress.coding.structures import find_structure
from tfcompress.errors import ModelFileError
from tfcompress.formats import onnx_file

_FIRST_IR_WITH_OVERRIDABLE_INPUTS = 4
_NOT_SMALLER = "the file as a whole would not be smaller"


def code_onnx(source, target, *, leave=(), structures=()):
    """Writes a copy of an .onnx file with packed weights.

    Args:
        source: `pathlib.Path` of the file; weights that it keeps in other files are
            read from beside it.
        target: `pathlib.Path` to write to, in a folder of its own. One file; above 2 GB
            the weights go to `<target's name>.data` beside it.
        leave: regular expressions; a tensor whose whole name matches one stays dense.
        structures: sequence of hints, dicts as `coding.structures` describes them.
    Returns:
        `CodingResult`. Where nothing pays the target is a copy of the source and of its
        other files.
    Raises:
        ModelFileError: if the file is no whole ONNX model, is coded already, has an
            opset before 7, or does not decode to the same bits once it is written.
        InvalidValueError: if `leave` holds no regular expressions.
        OSError: if a file cannot be read or written.
    """
    check_patterns(leave)
    model, external_names = onnx_file.read_model(source)
    _refuse(model, source)
    source_bytes = onnx_file.num_bytes(source, external_names)
    rows, expected = _Pass(model, source, leave, structures).run()
    if expected:
        onnx_file.mark_as_coded(model)
        written = onnx_file.write_model(model, target)
        del model  # The check reads the file; two of them are one too many.
        check_coded_model(source, target, expected)
        target_bytes = onnx_file.num_bytes(target, written)
        if target_bytes < source_bytes:
            return _result(source_bytes, target_bytes, rows)
        onnx_file.remove_model(target, written)
        rows = [row if row.reason else row.left_dense(_NOT_SMALLER) for row in rows]
    onnx_file.copy_model(source, target, external_names)
    return _result(source_bytes, source_bytes, rows)


def _result(source_bytes, target_bytes, rows):
    return CodingResult(
        format="onnx",
        source_bytes=source_bytes,
        target_bytes=target_bytes,
        tensors=tuple(rows),
    )


def _refuse(model, source):
    """Raises where a file is not for us."""
    if onnx_file.is_coded(model):
        raise ModelFileError(
            f"{str(source)!r} is coded already. Give the dense file it was made from."
        )
    opset = next(onnx_file.scopes(model)).opset
    if 0 < opset < onnx_file.MIN_OPSET:
        raise ModelFileError(
            f"{str(source)!r} has opset {opset}, and the decoder needs "
            f"{onnx_file.MIN_OPSET} or newer. Convert it with onnx.version_converter."
        )


class _Pass:
    """One pass over the constants of a model."""

    def __init__(self, model, source, leave, hints):
        self._source = source
        self._leave = leave
        self._hints = hints
        self._scopes = list(onnx_file.scopes(model))
        self._can_override = model.ir_version >= _FIRST_IR_WITH_OVERRIDABLE_INPUTS
        self._writer = onnx_decoder.DecoderWriter(self._scopes)
        self._rows = []
        self._expected = []

    def run(self):
        """Replaces, in the model, every constant whose code is smaller.

        Returns:
            (list of `CodedTensor`, list of `Expected`: one of each coded tensor).
        """
        for index, scope in enumerate(self._scopes):
            for name, tensor in onnx_file.constants(scope):
                # A single number is a parameter of the graph, and no weight.
                if onnx_file.has_weight_type(tensor) and math.prod(tensor.dims) > 1:
                    self._visit(index, name, tensor)
        self._writer.flush()
        return self._rows, self._expected

    def _visit(self, scope_index, name, tensor):
        scope = self._scopes[scope_index]
        array = onnx_file.read_array(tensor, name, self._source)
        reason = self._reason_to_leave(scope, name)
        kinds = onnx_decoder.code_kinds(scope.opset, array.dtype)
        code = codes.encode(
            array,
            cost=onnx_decoder.COST,
            kinds=("dense",) if reason else kinds,
            structure=None if reason else find_structure(array, self._hints),
        )
        row = CodedTensor.from_code(name, code)
        if code.is_dense:
            reason = reason or _reason_of_opset(array, scope.opset) or code.reason
            self._rows.append(row.left_dense(reason))
            return
        coded_bytes = self._writer.add(scope, name, code)
        self._rows.append(dataclasses.replace(row, coded_bytes=coded_bytes))
        self._expected.append(
            Expected(
                scope_index=scope_index,
                name=name,
                elem_type=tensor.data_type,
                shape=array.shape,
                sha256=hashlib.sha256(array).hexdigest(),
            )
        )

    def _reason_to_leave(self, scope, name):
        if self._can_override and name in scope.input_names:
            return "a graph input too, which a caller may override"
        return reason_to_leave(name, self._leave)


def _reason_of_opset(array, opset):
    """Says which code an opset keeps a tensor from having; None if it does not."""
    code = codes.encode(array, cost=onnx_decoder.COST)
    if code.kind in onnx_decoder.code_kinds(opset, array.dtype):
        return None
    return f"opset {opset} has no operators to decode a {code.kind} of {array.dtype}"
