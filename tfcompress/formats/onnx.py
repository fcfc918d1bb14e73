"""ONNX: a protobuf message."""

from tfcompress.formats.format import Exporter, Format, LazyFunction, Quantizer
from tfcompress.formats.precision import Precision, precisions
from tfcompress.formats.runtimes import ONNXRUNTIME, OPENVINO

ONNX = Format(
    name="onnx",
    title="an ONNX model",
    suffixes=(".onnx",),
    runtimes=(ONNXRUNTIME, OPENVINO),
    exporter=Exporter(
        tool="tf2onnx",
        write=LazyFunction("tfcompress.export.onnx:write"),
        precisions=precisions("float32", "float16"),
    ),
    quantizer=Quantizer(
        tool="tfcompress.quantizers",
        write=LazyFunction("tfcompress.quantizers.onnx:write"),
        precisions=precisions(
            "dynamic_range_wi8", "weight_only_wi8", "static_range_wi8_ai8"
        ),
        int8=Precision("dynamic_range_wi8"),
        of_qat={
            "dynamic_range": Precision("dynamic_range_wi8"),
            "static_range": Precision("static_range_wi8_ai8"),
        },
    ),
    code=LazyFunction("tfcompress.coding.onnx.coder:code_onnx"),
    read_constants=LazyFunction("tfcompress.formats.onnx_file:read_constants"),
    read_operators=LazyFunction("tfcompress.quantizers.operators:read_onnx"),
    read_integers=LazyFunction("tfcompress.quantizers.integer_share:read_onnx"),
)
