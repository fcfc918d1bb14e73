"""OpenVINO IR: an .xml file, the graph, and a .bin file, the weights."""

from tfcompress.formats import runtimes
from tfcompress.formats.format import Exporter, Format, LazyFunction, Quantizer
from tfcompress.formats.precision import Precision, precisions

OPENVINO = Format(
    name="openvino",
    title="an OpenVINO IR",
    suffixes=(".xml", ".bin"),
    marks=((0, b"<?xm"), (0, b"<net")),
    runtimes=(runtimes.OPENVINO,),
    exporter=Exporter(
        tool="openvino.convert_model",
        write=LazyFunction("tfcompress.export.openvino:write"),
        precisions=precisions("float32", "float16", "bfloat16"),
    ),
    quantizer=Quantizer(
        tool="nncf",
        write=LazyFunction("tfcompress.quantizers.openvino:write"),
        precisions=precisions(
            "weight_only_wi8",
            "weight_only_wi4",
            "weight_only_nf4",
            "weight_only_cb4",
            "static_range_wi8_ai8",
        ),
        int8=Precision("weight_only_wi8"),
        of_qat={
            "dynamic_range": Precision("weight_only_wi8"),
            "static_range": Precision("static_range_wi8_ai8"),
        },
    ),
    code=LazyFunction("tfcompress.coding.openvino.coder:code_openvino"),
    read_constants=LazyFunction("tfcompress.formats.openvino_file:read_constants"),
    read_operators=LazyFunction("tfcompress.quantizers.operators:read_openvino"),
    read_integers=LazyFunction("tfcompress.quantizers.integer_share:read_openvino"),
)
