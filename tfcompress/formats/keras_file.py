"""Reads the weights in a .keras file, without Keras."""

import io
import zipfile

from tfcompress.errors import ModelFileError, require
from tfcompress.formats.constants import Constant, to_bytes
from tfcompress.limits import check_zip

_OPTIMIZER = "optimizer/"  # Keras saves its state beside the weights
_WEIGHTS = "model.weights.h5"


def read_constants(path):
    """Yields a `Constant` of each weight of a .keras file.

    Args:
        path: `pathlib.Path` of the file.
    Raises:
        ModelFileError: if it is no .keras file, is damaged, or would unpack to far more
            than it has.
    """
    h5py = require("h5py", extra="compress")
    try:
        check_zip(path)
        with zipfile.ZipFile(path) as archive:
            content = archive.read(_WEIGHTS)
        file = h5py.File(io.BytesIO(content), "r")
    except (zipfile.BadZipFile, KeyError, OSError, ValueError) as error:
        raise ModelFileError(
            f"{str(path)!r} is no .keras file, or damaged: {error}."
        ) from error
    names = []
    with file:
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset) and not name.startswith(_OPTIMIZER):
                array = file[name][()]
                yield Constant(
                    name=name,
                    shape=array.shape,
                    dtype=array.dtype.name,
                    data=to_bytes(array),
                )
