"""Codes the weights of an ONNX file.

Any file of opset 7 or newer, whoever wrote it: initializers and Constant nodes, of
floating-point numbers or of integers of 8 bits, of the main graph, of subgraphs and of
functions. Opset, IR version, names, metadata and everything else stay as they are;
weights in other files come into the one. The decoder (`decoder`) is made of
standard operators that ONNX Runtime evaluates when it loads the model, before it looks
for integer kernels, so that the results and the latency are the dense file's.

Limits: a bitmap needs CumSum, opset 11. Left dense are initializers that a caller may
override: those that are graph inputs too, from IR version 4 on (in older files all are,
and ONNX Runtime takes them for constants). The memory of the loaded model is the dense
one's. With ONNX Runtime's graph optimizations off the weights are decoded in every run.
"""

import math

from tfcompress.coding import codes
from tfcompress.coding.driver import WeightConstant, code_model
from tfcompress.coding.onnx import decoder
from tfcompress.coding.onnx.check import check_coded_model
from tfcompress.errors import ModelFileError
from tfcompress.formats import onnx_file

_FIRST_IR_WITH_OVERRIDABLE_INPUTS = 4


def code_onnx(source, target, *, exclude=(), structures=()):
    """Writes a copy of an .onnx file with packed weights.

    Args:
        source: `pathlib.Path` of the file; weights that it keeps in other files are
            read from beside it.
        target: `pathlib.Path` to write to, in a folder of its own. One file; above 2 GB
            the weights go to `<target's name>.data` beside it.
        exclude: regular expressions; a tensor whose whole name matches one stays dense.
        structures: sequence of hints, dicts as `coding.structures` describes them.
    Returns:
        `CodingResult`. Where nothing pays the target is a copy of the source and of its
        other files.
    Raises:
        ModelFileError: if the file is no whole ONNX model, is coded already, has an
            opset before 7, or does not decode to the same bits once it is written.
        InvalidValueError: if `exclude` holds no regular expressions.
        OSError: if a file cannot be read or written.
    """
    return code_model(
        OnnxCoder(source), source, target, exclude=exclude, structures=structures
    )


class OnnxCoder:
    """An .onnx file that is open to be coded: a `driver.Coder`."""

    format = "onnx"

    def __init__(self, source):
        self._source = source
        self._model, self._external_names = onnx_file.read_model(source)
        self._written = ()
        self.is_coded = onnx_file.is_coded(self._model)
        self.source_bytes = onnx_file.num_bytes(source, self._external_names)
        self._scopes = list(onnx_file.scopes(self._model))
        self._refuse_old()
        self._can_override = self._model.ir_version >= _FIRST_IR_WITH_OVERRIDABLE_INPUTS
        self._writer = decoder.DecoderWriter(self._scopes)

    def _refuse_old(self):
        opset = self._scopes[0].opset
        if 0 < opset < onnx_file.MIN_OPSET and not self.is_coded:
            raise ModelFileError(
                f"{str(self._source)!r} has opset {opset}, and the decoder needs "
                f"{onnx_file.MIN_OPSET} or newer. Convert it with "
                "onnx.version_converter."
            )

    def constants(self):
        for index, scope in enumerate(self._scopes):
            for name, tensor in onnx_file.constants(scope):
                # A single number is a parameter of the graph, and no weight.
                if onnx_file.has_weight_type(tensor) and math.prod(tensor.dims) > 1:
                    array = onnx_file.read_array(tensor, name, self._source)
                    yield WeightConstant(
                        name=name,
                        array=array,
                        element_type=tensor.data_type,
                        graph_index=index,
                        kinds=decoder.code_kinds(scope.opset, array.dtype),
                        cost=decoder.COST,
                        reason=self._reason_to_leave(scope, name),
                    )

    def _reason_to_leave(self, scope, name):
        if self._can_override and name in scope.input_names:
            return "a graph input too, which a caller may override"
        return None

    def reason_of_dense(self, constant):
        """Says which code an opset keeps a tensor from having."""
        array, opset = constant.array, self._scopes[constant.graph_index].opset
        code = codes.encode(array, cost=decoder.COST)
        if code.kind in constant.kinds:
            return None
        return (
            f"opset {opset} has no operators to decode a {code.kind} of {array.dtype}"
        )

    def replace(self, constant, code):
        scope = self._scopes[constant.graph_index]
        return self._writer.add(scope, constant.name, code)

    def write(self, target):
        self._writer.flush()
        onnx_file.mark_as_coded(self._model)
        self._written = onnx_file.write_model(self._model, target)
        # The check reads the file; two of them are one too many.
        self._model = self._scopes = self._writer = None
        return onnx_file.num_bytes(target, self._written)

    def check(self, target, expected):
        check_coded_model(self._source, target, expected)

    def remove(self, target):
        onnx_file.remove_model(target, self._written)

    def copy(self, target):
        onnx_file.copy_model(self._source, target, self._external_names)
