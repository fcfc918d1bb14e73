"""Keras model -> OpenVINO IR (`.xml` and `.bin`), by OpenVINO's converter.

Keras's own exporter is not used: it leaves several names on an output, of which those
beside ours depend on the weights (a bias of zeros is dropped, and its name with it).
"""

import re
import sys

from tfcompress.atomic import atomic_file
from tfcompress.errors import UnsupportedModelError, require
from tfcompress.export import openvino_leaves
from tfcompress.export.float16 import check_range
from tfcompress.export.keras_functions import OPENVINO
from tfcompress.export.model_checks import (
    check_apart,
    check_float64,
    check_outputs_differ,
)
from tfcompress.export.refusals import conversion_refusal, refusal
from tfcompress.export.serving import use_flat_graph, use_functions
from tfcompress.foreign import silenced
from tfcompress.openvino_reductions import widen_reductions

KIND = "OpenVINO IR"
FILES = ("model.xml", "model.bin")
_COUNTED = re.compile(r"[A-Za-z0-9]+_\d+")


def write(serving, folder, precision):
    """Writes `model.xml` and `model.bin`; arguments and result as in `tflite.write`.

    The files of "float16" and "bfloat16" are the same, with weights in float16, which
    has three bits more than bfloat16: OpenVINO turns them into what it computes in when
    it loads them, and it is the runtime that asks for bfloat16.

    Raises:
        UnsupportedModelError: if an operator has no counterpart, or float16 cannot hold
            a weight.
        OSError: if a file cannot be written, which OpenVINO calls a RuntimeError.
    """
    openvino = require("openvino", extra="export")
    check_apart(serving, KIND)
    check_float64(serving, KIND)
    check_outputs_differ(serving, KIND)
    try:
        model = _convert(serving)
    except UnsupportedModelError:
        raise
    except Exception as error:
        raise conversion_refusal(serving, KIND, error, _convert) from error
    widen_reductions(model)
    _make_repeatable(model)
    is_small = precision.weight_bits < 32
    if is_small:
        _check_range(model, serving)
    xml = folder / FILES[0]
    with atomic_file(xml) as path:
        try:
            openvino.save_model(model, path, compress_to_fp16=is_small)
        except RuntimeError as error:
            raise OSError(
                f"OpenVINO cannot write {str(xml)!r}: {error}. Is the disk full?"
            ) from error
    return FILES


def _convert(serving):
    """Returns the `openvino.Model`, its inputs and outputs named as the Keras model's.

    Raises:
        UnsupportedModelError: if an output is an input as it is.
    """
    openvino = require("openvino", extra="export")
    _mend_converter()
    serving = use_functions(serving, OPENVINO)
    serving = use_flat_graph(serving, openvino_leaves.replacements())
    function = serving.concrete_function
    with silenced():
        model = openvino.convert_model(function)
    _keep_one_name(model.inputs, serving.inputs)
    try:
        _keep_one_name(model.outputs, serving.outputs)
    except ValueError as error:
        reason = "an output of it is one of its inputs as it is"
        advice = "Leave that output out"
        raise refusal(serving, KIND, reason, advice) from error
    return model


def _check_range(model, serving):
    """Refuses weights that float16 cannot hold: OpenVINO would cut them off."""
    for node in model.get_ops():
        if node.get_type_name() == "Constant":
            name = node.get_friendly_name()
            check_range(node.get_data(), name, serving.model.name)


def _mend_converter():
    """Replaces a function of OpenVINO's converter that fails on Python 3.13.

    It runs `exec("del tensorflow")` on a name that an `exec` before it leaves behind up
    to Python 3.12 only (PEP 667). Seen in OpenVINO 2026.4.1; to be taken out once its
    `get_environment_setup` does not do so any more.
    """
    if sys.version_info < (3, 13):
        return
    import tensorflow as tf
    from openvino.frontend.tensorflow import utils

    utils.get_environment_setup = lambda framework: {"tensorflow": tf.__version__}


def _keep_one_name(ports, specs):
    """Leaves each input or output the name that the model gives it."""
    for port in ports:
        (name,) = {spec.name for spec in specs} & port.get_names()
        port.get_tensor().set_names({name})


def _make_repeatable(model):
    """Numbers the nodes that the converter adds by their place in this model.

    It numbers them by a counter of the process, such as `Transpose_2295`; those of the
    Keras model have a path, such as `classifier/dense/MatMul`.
    """
    for index, node in enumerate(model.get_ordered_ops()):
        kind = node.get_type_name()
        if kind != "Parameter" and _COUNTED.fullmatch(node.get_friendly_name()):
            node.set_friendly_name(f"{kind}_{index}")
