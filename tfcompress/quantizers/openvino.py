"""NNCF's weight compression of OpenVINO's IR."""

import logging

from tfcompress.errors import require

_GROUP_SIZE = 64

# Precision -> (name of NNCF's mode, whether its scales are of groups).
MODES = {
    "weight_only_wi8": ("INT8_SYM", False),
    "weight_only_wi4": ("INT4_SYM", True),
    "weight_only_nf4": ("NF4", True),
    "weight_only_cb4": ("CB4", False),
}


def write(source, target, precision):
    """Compresses the weights of all layers, embeddings and the last one included.

    Args:
        source, target: `pathlib.Path` of the .xml files.
        precision: of `MODES`.
    """
    nncf = require("nncf", extra="quantizers")
    openvino = require("openvino", extra="quantizers")
    nncf.set_log_level(logging.ERROR)  # it prints tables of its own
    mode, has_groups = MODES[precision]
    options = {}
    if not precision.endswith("wi8"):  # int8 takes all layers and no such options
        options["all_layers"] = True
    if has_groups:
        options["group_size"] = _GROUP_SIZE
    model = openvino.Core().read_model(source)
    model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode[mode], **options)
    openvino.save_model(model, target, compress_to_fp16=False)
