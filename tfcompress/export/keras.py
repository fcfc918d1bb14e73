"""Keras model -> `.keras`, Keras's own format, from which it can be trained on."""

from tfcompress.atomic import atomic_file

FILE = "model.keras"


def write(serving, folder, precision):
    """Writes `model.keras`; arguments and result as in `tflite.write`."""
    del precision  # there is float32 only
    with atomic_file(folder / FILE) as path:
        serving.model.save(path)
    return (FILE,)
