"""Codes the weights of an OpenVINO IR.

Any IR of version 11, whoever wrote it: the float32, float16, bfloat16, int8 and uint8
constants of the graph and of the bodies of its control flow operators. Names, dynamic
shapes, layouts, preprocessing and runtime information stay as they are. The decoder
(`openvino_decoder`) is made of standard operators that are evaluated when the model is
compiled, so that the weights and the latency are the dense file's, and in float32 the
results of a graph without loops, to the bit.

Limits: the memory of the compiled model is the dense one's. Where the CPU computes in
bfloat16 (its own choice, unless INFERENCE_PRECISION_HINT is f32) and the dense file
holds float16, the plugin takes another kernel for the dense one, and the results differ
by that type's rounding. So do the rows that weight-only int8 looks up: the plugin
decodes their table to float32. A recurrent layer whose weights are in 16 bits may sum
in another order: an LSTM's results differed by up to 2.2e-7 in float32.
"""

import hashlib

from tfcompress.coding import codes, openvino_decoder
from tfcompress.coding.leave import check_patterns, reason_to_leave
from tfcompress.coding.openvino_check import Expected, check_coded_model
from tfcompress.coding.result import CodedTensor, CodingResult
from tfcompress.coding.structures import find_structure
from tfcompress.errors import ModelFileError
from tfcompress.formats import openvino_file

_NOT_SMALLER = "the file as a whole would not be smaller"


def code_openvino(source, target, *, leave=(), structures=()):
    """Writes a copy of an IR with packed weights.

    Args:
        source: `pathlib.Path` of the .xml file; the .bin file is beside it.
        target: `pathlib.Path` of the .xml file to write to; the .bin file goes beside
            it.
        leave: regular expressions; a constant whose whole name matches one stays dense.
        structures: sequence of hints, dicts as `coding.structures` describes them.
    Returns:
        `CodingResult`. Where nothing pays the target is a copy of the source.
    Raises:
        ModelFileError: if the file is no whole IR, is coded already, or does not decode
            to the same bits once it is written.
        InvalidValueError: if `leave` holds no regular expressions.
        OSError: if a file cannot be read or written.
    """
    check_patterns(leave)
    model = openvino_file.read_model(source)
    if openvino_file.is_coded(model):
        raise ModelFileError(
            f"{str(source)!r} is coded already. Give the dense file it was made from."
        )
    source_bytes = openvino_file.num_bytes(source)
    coder = _Pass(model, leave, structures)
    coder.run()
    rows = coder.rows
    if coder.expected:
        openvino_file.mark_as_coded(model)
        openvino_file.write_model(model, target)
        check_coded_model(source, target, coder.expected)
        target_bytes = openvino_file.num_bytes(target)
        if target_bytes < source_bytes:
            return _result(source_bytes, target_bytes, rows)
        openvino_file.remove_model(target)
        rows = [row if row.reason else row.left_dense(_NOT_SMALLER) for row in rows]
    openvino_file.copy_model(source, target)
    return _result(source_bytes, source_bytes, rows)


def _result(source_bytes, target_bytes, rows):
    return CodingResult(
        format="openvino",
        source_bytes=source_bytes,
        target_bytes=target_bytes,
        tensors=tuple(rows),
    )


class _Pass:
    """One pass over the constants of a model; has to live until the model is saved.

    Attributes:
        rows: a `CodedTensor` of every constant that holds weights.
        expected: an `Expected` of every coded one.
    """

    def __init__(self, model, leave, hints):
        self.rows = []
        self.expected = []
        self._graphs = list(openvino_file.graphs(model))
        self._leave = leave
        self._hints = hints
        self._writer = openvino_decoder.DecoderWriter(
            {
                node.get_friendly_name()
                for graph in self._graphs
                for node in graph.get_ordered_ops()
            }
        )

    def run(self):
        """Replaces, in the model, every constant whose code is smaller."""
        for index, graph in enumerate(self._graphs):
            for constant in list(openvino_file.weight_constants(graph)):
                # A single number is a parameter of the graph, and no weight.
                if constant.data.size > 1:
                    self._visit(index, constant)

    def _visit(self, graph_index, constant):
        name, array = constant.get_friendly_name(), constant.data
        element_type = constant.get_output_element_type(0).get_type_name()
        reason = reason_to_leave(name, self._leave)
        if element_type == "f64":
            reason = "OpenVINO folds no Gather of float64"
        must_fold = openvino_decoder.has_to_fold(constant, is_in_body=graph_index > 0)
        code = codes.encode(
            array,
            cost=openvino_decoder.cost(array.shape, must_fold=must_fold),
            kinds=("dense",) if reason else openvino_decoder.code_kinds(must_fold),
            structure=None if reason else find_structure(array, self._hints),
        )
        row = CodedTensor.from_code(
            name, code, dtype=openvino_file.DTYPES[element_type]
        )
        if code.is_dense:
            self.rows.append(row.left_dense(reason or code.reason))
            return
        self._writer.replace(
            constant, code, graph_index=graph_index, must_fold=must_fold
        )
        self.rows.append(row)
        self.expected.append(
            Expected(
                graph_index=graph_index,
                name=name,
                element_type=element_type,
                shape=array.shape,
                sha256=hashlib.sha256(array).hexdigest(),
            )
        )
