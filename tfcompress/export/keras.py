"""Keras model -> `.keras`, Keras's own format, without what training left behind."""

from tfcompress.atomic import atomic_file
from tfcompress.bridge import clone_model_with_weights
from tfcompress.bridge.graphs import functional_graph, input_names, is_automatic

FILE = "model.keras"


def write(serving, folder, precision):
    """Writes `model.keras`; arguments and result as in `tflite.write`."""
    del precision  # there is float32 only
    # The optimizer's state is twice the weights and of no use to who deploys.
    model = serving.model
    if model.compiled:
        model = clone_model_with_weights(model)
    if not _keeps_names(model):
        import keras

        graph = functional_graph(model, model.name)
        model = keras.Model(graph.input, graph.output, name=model.name)
    with atomic_file(folder / FILE) as path:
        model.save(path)
    return (FILE,)


def _keeps_names(model):
    """Tells whether the inputs are called in the file what they are called now.

    A model of a class of its own, as those of KerasHub, is built anew by its config
    when it is loaded: an input without a name of its own then gets another one.
    """
    names = input_names(functional_graph(model, model.name).inputs)
    return "layers" in model.get_config() or not any(map(is_automatic, names))
