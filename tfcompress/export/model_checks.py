"""What no file can hold of a model, whatever its layers compute: names and dtypes."""

import re

from tfcompress.errors import InvalidValueError, UnsupportedModelError

# What TensorFlow takes as the name of an operator; it names the operators of a layer
# after the layer.
_NAME = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")
_ALLOWED = "letters of English, digits and any of _.-/"


def output_names(graph, model_name):
    """Names the outputs of a functional model.

    Args:
        graph: the functional model.
        model_name: its name in errors.
    Returns:
        List of the keys of its dictionary of outputs, sorted, or else of the names of
        the layers that put them out.
    Raises:
        UnsupportedModelError: if the outputs are nested.
    """
    import keras

    structure = graph.output
    values = structure.values() if isinstance(structure, dict) else structure
    if isinstance(values, keras.KerasTensor):
        values = [values]
    if not all(isinstance(value, keras.KerasTensor) for value in values):
        raise UnsupportedModelError(
            f"Model {model_name!r} puts out lists or dictionaries inside of others, "
            "and a file has a flat list of outputs. Build it with one dictionary of "
            "outputs: keras.Model(inputs, {'name': output})."
        )
    if isinstance(structure, dict):
        # In the order in which tf.nest flattens a dictionary.
        return sorted(structure)
    return graph.output_names


def check_names(model, inputs, outputs):
    """Refuses names that a file cannot have, and two outputs of one name.

    Args:
        model: the model.
        inputs: `TensorSpec` of each input.
        outputs: `TensorSpec` of each output.
    Raises:
        UnsupportedModelError: if there is one.
    """
    names = [spec.name for spec in outputs]
    for name in names:
        if names.count(name) > 1:
            raise UnsupportedModelError(
                f"Model {model.name!r} has two outputs of the name {name!r}. Give the "
                "model a dictionary of outputs, with a key for each."
            )
    for kind, found in (
        ("an input", [spec.name for spec in inputs]),
        ("a layer", [layer.name for layer in model._flatten_layers()]),
    ):
        for name in found:
            if not _NAME.fullmatch(name):
                raise UnsupportedModelError(
                    f"Model {model.name!r} has {kind} of the name {name!r}, which "
                    f"TensorFlow cannot put into a graph. Name it by {_ALLOWED}."
                )


def check_dtypes(model, specs):
    """Refuses texts and complex numbers, which no format takes in or puts out.

    Args:
        model: the model.
        specs: `TensorSpec` of each input and output.
    Raises:
        UnsupportedModelError: if there is one.
    """
    for spec in specs:
        if spec.dtype == "string":
            raise UnsupportedModelError(
                f"Model {model.name!r} takes or puts out texts at {spec.name!r}, and "
                "files take numbers. Export the part of the model behind the layer "
                "that turns texts into numbers, and run that layer before the file."
            )
        if spec.dtype.startswith("complex"):
            raise UnsupportedModelError(
                f"Model {model.name!r} takes or puts out complex numbers at "
                f"{spec.name!r}. Split them into real and imaginary parts."
            )


def computes_in(model, *dtypes):
    """Tells whether a layer computes in, or keeps weights in, one of some dtypes.

    Args:
        model: the model.
        *dtypes: names, such as `"float16"`.
    """
    return any(
        layer.compute_dtype in dtypes or layer.variable_dtype in dtypes
        for layer in model._flatten_layers()
    )


def check_float64(serving, kind):
    """Refuses a model that computes in float64, for formats that would round it.

    Args:
        serving: `Serving`.
        kind: the format's name for people.
    Raises:
        UnsupportedModelError: if it does.
    """
    if computes_in(serving.model, "float64"):
        raise UnsupportedModelError(
            f"Model {serving.model.name!r} cannot be written as {kind}: it computes in "
            "float64, and the runtime does not. Write it as ONNX, or build it with the "
            "dtype policy 'float32' and give it the weights."
        )


def check_batch_size(batch_size):
    """Refuses what is no size of a batch.

    Args:
        batch_size: None, or a whole number of at least 1.
    Raises:
        InvalidValueError: if it is neither.
    """
    is_number = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    if batch_size is not None and not (is_number and batch_size >= 1):
        raise InvalidValueError(
            "batch_size must be None, for a free batch, or a whole number of at least "
            f"1, got {batch_size!r}."
        )


def check_apart(serving, kind):
    """Refuses an output that has the name of an input, for formats with one namespace.

    Args:
        serving: `Serving`.
        kind: the format's name for people.
    Raises:
        UnsupportedModelError: if there is one.
    """
    inputs = {spec.name for spec in serving.inputs}
    for spec in serving.outputs:
        if spec.name in inputs:
            raise UnsupportedModelError(
                f"Model {serving.model.name!r} cannot be written as {kind}: an input "
                f"and an output are both called {spec.name!r}. Give the model a "
                "dictionary of outputs with another key, and put out no input as it is."
            )


def check_outputs_differ(serving, kind):
    """Refuses a tensor that is put out twice, for formats that merge the two.

    Args:
        serving: `Serving`.
        kind: the format's name for people.
    Raises:
        UnsupportedModelError: if there is one.
    """
    names = {}
    for spec, tensor in zip(serving.outputs, serving.graph.outputs, strict=True):
        first = names.setdefault(id(tensor), spec.name)
        if first != spec.name:
            raise UnsupportedModelError(
                f"Model {serving.model.name!r} cannot be written as {kind}: its "
                f"outputs {first!r} and {spec.name!r} are one tensor, of which such a "
                "file keeps one name. Leave one of them out."
            )
