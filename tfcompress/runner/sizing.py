"""Size of one target and its layers' weights, as sections of its record."""

import math

from tfcompress.evaluate import (
    list_weights,
    measure_size,
    read_weights,
    summarize_weights,
)
from tfcompress.runner.layer_tensors import find_tensors


def size_section(artifact, dense, plain, layers, weights):
    """Measures the size of one artifact, and its weights as they lie in the file.

    Args:
        artifact: `Artifact`.
        dense: the `Artifact` of the dense file that it was coded from, or itself.
        plain: that of the float file that `dense` was quantized from, or `dense`.
        layers: rows of the compression report, as JSON; empty for a plain model.
        weights: function without arguments that returns `layer_weights` of the model;
            it is called where `layers` tell of a weight.
    Returns:
        `(size, layers)`: the record's sections, without the compression ratio. In
        `layers`, `exported` has every weight of `stripped`; None where it is not found
        in the file.
    """
    manifest = dense.manifest
    listed = list_weights(manifest.format, dense.folder, manifest.model_files)
    table = artifact.manifest.coding_table
    size = measure_size(artifact) | summarize_weights(listed, table)
    wanted = [(row["name"], name) for row in layers for name in row["stripped"]]
    if not wanted:
        return size, [row | {"exported": {}} for row in layers]
    found = _find(dense, plain, listed, weights(), wanted)
    figures = {weight.name: _of_dense(weight) for weight in reversed(listed)}
    for row in table:
        figures[row["name"]] = _of_coded(row, figures.get(row["name"]))
    exported = {key: figures.get(name) for key, name in found.items()}
    layers = [
        row
        | {"exported": {name: exported[row["name"], name] for name in row["stripped"]}}
        for row in layers
    ]
    counts = [each and each["distinct_values"] for each in exported.values()]
    # Of a weight that was not found the number is not known, nor that of them all.
    size["max_distinct_values"] = None if None in counts else max(counts)
    return size, layers


def compression_ratio(size, baseline):
    """Returns how many times smaller a file is than the baseline's of its format.

    Args:
        size: `size` section of a record.
        baseline: that of the baseline's dense float32 file; None, or one of a failure,
            where there is no such file: then no ratio is known.
    """
    if baseline is None or baseline["file_bytes"] is None:
        return None
    return baseline["file_bytes"] / size["file_bytes"]


def layer_weights(model, layers):
    """Returns the weights that a compression report tells of, as the model has them.

    Args:
        model: the compressed Keras 3 model.
        layers: rows of its report, as JSON; their names are those of the flat model.
    Returns:
        Dict of `(layer name, weight name)` to array.
    """
    from tfcompress.bridge import to_tf_keras
    from tfcompress.methods.layer_weights import weight_place

    flat = to_tf_keras(model)
    return {
        (row["name"], name): getattr(
            *weight_place(flat.get_layer(row["name"]), name)
        ).numpy()
        for row in layers
        for name in row["stripped"]
    }


def _find(dense, plain, listed, weights, wanted):
    """Returns `(layer name, weight name)` -> name in the dense file, or None."""
    weights = {key: weights[key] for key in wanted}
    found = find_tensors(weights, _arrays(plain, weights))
    if plain.folder == dense.folder:
        return found
    names = [weight.name for weight in listed]
    found = {key: name and _quantized_name(name, names) for key, name in found.items()}
    # A quantizer may give new names; integers are the weights but for their scales.
    rest = {key: weights[key] for key, name in found.items() if name is None}
    taken = set(found.values())
    free = {n: a for n, a in _arrays(dense, rest).items() if n not in taken}
    return found | find_tensors(rest, free)


def _arrays(artifact, weights):
    manifest = artifact.manifest
    sizes = {weight.size for weight in weights.values()}
    return read_weights(manifest.format, artifact.folder, manifest.model_files, sizes)


def _quantized_name(name, names):
    """Returns what a tensor is called in a quantized file; None if that is not sure.

    >>> _quantized_name("dense/kernel", ["dense/kernel_quantized", "dense/kernels"])
    'dense/kernel_quantized'
    """
    if name in names:
        return name
    longer = [other for other in names if other.startswith((f"{name}_", f"{name}/"))]
    return longer[0] if len(longer) == 1 else None


def _of_dense(weight):
    return {
        "num_weights": weight.num_weights,
        "distinct_values": weight.num_distinct_values,
        "num_bytes": weight.size_bytes,
        "code": "dense",
    }


def _of_coded(row, dense):
    """Returns the figures of a coded tensor; `dense` has those of the dense one."""
    num_values = row["num_values"]
    if num_values is None and dense is not None:  # too many for a code to count
        num_values = dense["distinct_values"]
    return {
        "num_weights": math.prod(row["shape"]),
        "distinct_values": num_values,
        "num_bytes": row["coded_bytes"],
        "code": row["code"],
    }
