"""Keras model -> `.keras`, Keras's own format, without what training left behind."""

from tfcompress.atomic import atomic_file
from tfcompress.bridge import clone_model_with_weights

FILE = "model.keras"


def write(serving, folder, precision):
    """Writes `model.keras`; arguments and result as in `tflite.write`."""
    del precision  # there is float32 only
    # The optimizer's state is twice the weights and of no use to who deploys.
    model = serving.model
    if model.compiled:
        model = clone_model_with_weights(model)
    with atomic_file(folder / FILE) as path:
        model.save(path)
    return (FILE,)
