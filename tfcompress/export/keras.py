"""Keras model -> `.keras`, Keras's own format, without what training left behind.

Keras notes when a file was saved, in two places, and names the objects that layers
share by their addresses in memory. Here the times are fixed and the objects numbered,
so that the same model gives the same bytes.
"""

import json
import os
import re
import shutil
import zipfile

from tfcompress.atomic import atomic_file
from tfcompress.bridge import clone_model_with_weights
from tfcompress.bridge.graphs import functional_graph, input_names, is_automatic

FILE = "model.keras"
_METADATA, _CONFIG = "metadata.json", "config.json"
_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a ZIP can hold
_DATE_SAVED = "1980-01-01@00:00:00"  # Keras's file editor needs the field
# Within a text of JSON the quotation marks would have backslashes.
_SHARED_OBJECT = re.compile(r'(?<="shared_object_id": )\d+')


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
        save_model(model, path)
    return (FILE,)


def save_model(model, path):
    """Saves a Keras 3 model as a file whose bytes depend on the model alone.

    Args:
        model: Keras 3 model; what it was compiled with is saved too.
        path: path of the `.keras` file, in a folder where nothing else is written.
    Raises:
        OSError: if the file cannot be written.
    """
    model.save(path)
    timeless = path.with_name(f"timeless.{path.name}")
    with zipfile.ZipFile(path) as saved, zipfile.ZipFile(timeless, "w") as archive:
        for entry in saved.infolist():
            fixed = zipfile.ZipInfo(entry.filename, _TIME)
            fixed.compress_type = entry.compress_type
            fixed.external_attr = entry.external_attr
            if entry.filename in _WRITTEN_ANEW:
                text = saved.read(entry).decode("utf-8")
                archive.writestr(fixed, _WRITTEN_ANEW[entry.filename](text))
                continue
            fixed.file_size = entry.file_size  # decides whether it needs ZIP64
            with saved.open(entry) as source, archive.open(fixed, "w") as target:
                shutil.copyfileobj(source, target)
    os.replace(timeless, path)


def _keeps_names(model):
    """Tells whether the inputs are called in the file what they are called now.

    A model of a class of its own, as those of KerasHub, is built anew by its config
    when it is loaded: an input without a name of its own then gets another one.
    """
    names = input_names(functional_graph(model, model.name).inputs)
    return "layers" in model.get_config() or not any(map(is_automatic, names))


def _with_fixed_date(metadata):
    return json.dumps(json.loads(metadata) | {"date_saved": _DATE_SAVED})


def _with_numbered_objects(config):
    numbers = {}
    return _SHARED_OBJECT.sub(
        lambda match: str(numbers.setdefault(match.group(), len(numbers))), config
    )


_WRITTEN_ANEW = {_METADATA: _with_fixed_date, _CONFIG: _with_numbered_objects}
