"""TensorFlow Lite: a flatbuffer."""

from tfcompress.formats.format import Exporter, Format, LazyFunction, Quantizer
from tfcompress.formats.precision import Precision, precisions
from tfcompress.formats.runtimes import LITERT, OPENVINO

TFLITE = Format(
    name="tflite",
    title="a TensorFlow Lite model",
    suffixes=(".tflite",),
    marks=((4, b"TFL3"),),
    runtimes=(LITERT, OPENVINO),
    exporter=Exporter(
        tool="tensorflow.lite.TFLiteConverter",
        write=LazyFunction("tfcompress.export.tflite:write"),
        precisions=precisions("float32", "float16", "dynamic_range_wi8"),
    ),
    quantizer=Quantizer(
        tool="ai-edge-quantizer",
        write=LazyFunction("tfcompress.quantizers.tflite:write"),
        precisions=precisions(
            "dynamic_range_wi8_ei8",
            "dynamic_range_wi8_efp32",
            "dynamic_range_wi4_ei8",
            "dynamic_range_wi4",
            "dynamic_range_wi4b32",
            "static_range_wi8_ai8",
            "static_range_wi8_ai8_full",
        ),
        settings=("num_bits", "scheme"),
        int8=Precision("dynamic_range_wi8"),  # the converter's own
        of_qat={
            "dynamic_range": Precision("dynamic_range_wi8_ei8"),
            "static_range": Precision("static_range_wi8_ai8"),
        },
    ),
    code=LazyFunction("tfcompress.coding.tflite.coder:code_tflite"),
    has_slow_layers=True,
    read_constants=LazyFunction("tfcompress.formats.tflite_graphs:read_constants"),
    read_operators=LazyFunction("tfcompress.quantizers.operators:read_tflite"),
    read_integers=LazyFunction("tfcompress.quantizers.integer_share:read_tflite"),
)
