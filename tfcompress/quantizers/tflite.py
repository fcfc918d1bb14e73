"""ai-edge-quantizer on .tflite files. It leaves embedding tables float."""

import contextlib
import io

from tfcompress.errors import require

# Precision -> name of ai-edge-quantizer's recipe.
RECIPES = {
    "dynamic_range_wi4": "dynamic_wi4c_afp32",
    "dynamic_range_wi4b32": "dynamic_wi4b32_afp32",
}


def write(source, target, precision):
    """Quantizes the weights of what has integer kernels.

    Args:
        source, target: `pathlib.Path` of the files.
        precision: of `RECIPES`.
    """
    quantizer = require("ai_edge_quantizer.quantizer", extra="quantizers")
    recipe = require("ai_edge_quantizer.recipe", extra="quantizers")
    tool = quantizer.Quantizer(str(source))
    tool.load_quantization_recipe(getattr(recipe, RECIPES[precision])())
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a report of its own
        tool.quantize().export_model(str(target))
