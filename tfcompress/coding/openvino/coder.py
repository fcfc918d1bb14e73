"""Codes the weights of an OpenVINO IR.

Any IR of version 11, whoever wrote it: the float32, float16, bfloat16, int8 and uint8
constants of the graph and of the bodies of its control flow operators. Names, dynamic
shapes, layouts, preprocessing and runtime information stay as they are. The decoder
(`decoder`) is made of standard operators that are evaluated when the model is
compiled, so that the weights and the latency are the dense file's, and in float32 the
results of a graph without loops, to the bit.

Limits: the memory of the compiled model is the dense one's. Where the CPU computes in
bfloat16 (its own choice, unless INFERENCE_PRECISION_HINT is f32) and the dense file
holds float16, the plugin takes another kernel for the dense one, and the results differ
by that type's rounding. So do the rows that weight-only int8 looks up: the plugin
decodes their table to float32. A recurrent layer whose weights are in 16 bits may sum
in another order: an LSTM's results differed by up to 2.2e-7 in float32.
"""

from tfcompress.coding.driver import WeightConstant, code_model
from tfcompress.coding.openvino import decoder
from tfcompress.coding.openvino.check import check_coded_model
from tfcompress.formats import openvino_file


def code_openvino(source, target, *, exclude=(), structures=()):
    """Writes a copy of an IR with packed weights.

    Args:
        source: `pathlib.Path` of the .xml file; the .bin file is beside it.
        target: `pathlib.Path` of the .xml file to write to; the .bin file goes beside
            it.
        exclude: regular expressions; a constant whose name matches one stays dense.
        structures: sequence of hints, dicts as `coding.structures` describes them.
    Returns:
        `CodingResult`. Where nothing pays the target is a copy of the source.
    Raises:
        ModelFileError: if the file is no whole IR, is coded already, or does not decode
            to the same bits once it is written.
        InvalidValueError: if `exclude` holds no regular expressions.
        OSError: if a file cannot be read or written.
    """
    return code_model(
        OpenvinoCoder(source), source, target, exclude=exclude, structures=structures
    )


class OpenvinoCoder:
    """An IR that is open to be coded: a `driver.Coder`.

    Decoders share their arrays with the model: it has to live until that is written.
    """

    format = "openvino"

    def __init__(self, source):
        self._source = source
        self._model = openvino_file.read_model(source)
        self.is_coded = openvino_file.is_coded(self._model)
        self.source_bytes = openvino_file.num_bytes(source)
        self._graphs = list(openvino_file.graphs(self._model))
        self._writer = decoder.DecoderWriter(
            {
                node.get_friendly_name()
                for graph in self._graphs
                for node in graph.get_ordered_ops()
            }
        )

    def constants(self):
        for index, graph in enumerate(self._graphs):
            for node in list(openvino_file.weight_constants(graph)):
                # A single number is a parameter of the graph, and no weight.
                if node.data.size > 1:
                    yield self._constant(index, node)

    def _constant(self, graph_index, node):
        element_type = node.get_output_element_type(0).get_type_name()
        must_fold = decoder.has_to_fold(node, is_in_body=graph_index > 0)
        is_double = element_type == "f64"
        return WeightConstant(
            name=node.get_friendly_name(),
            array=node.data,
            element_type=element_type,
            graph_index=graph_index,
            kinds=decoder.code_kinds(must_fold),
            cost=decoder.cost(node.data.shape, must_fold=must_fold),
            dtype=openvino_file.DTYPES[element_type],
            reason="OpenVINO folds no Gather of float64" if is_double else None,
            holder=(node, must_fold),
        )

    def reason_of_dense(self, constant):
        return None

    def replace(self, constant, code):
        node, must_fold = constant.holder
        self._writer.replace(
            node, code, graph_index=constant.graph_index, must_fold=must_fold
        )

    def write(self, target):
        openvino_file.mark_as_coded(self._model)
        openvino_file.write_model(self._model, target)
        return openvino_file.num_bytes(target)

    def check(self, target, expected):
        check_coded_model(self._source, target, expected)

    def remove(self, target):
        openvino_file.remove_model(target)

    def copy(self, target):
        openvino_file.copy_model(self._source, target)
