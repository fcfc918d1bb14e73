"""Arrays in memory as batches of a `tf.data.Dataset`, as a model takes its inputs."""

import numpy as np

from tfcompress.errors import UnsupportedModelError
from tfcompress.tasks import arrange_outputs
from tfcompress.training.batching import example_lengths, padded_length
from tfcompress.training.libraries import is_keras3

MASK_NAME = "padding_mask"


class InputPipeline:
    """Gives the batches of one split to one model.

    Args:
        model: Keras 3 or tf_keras model.
        split: `Split` whose inputs have the names of the model's inputs.
        targets: arrays, in the order of the model's outputs.
        bucket_by_length: whether batches are trimmed to their longest example.

    Attributes:
        lengths: int64 array, shape `(num_examples,)`, or `None` without buckets.

    Raises:
        UnsupportedModelError: if the model's inputs do not fit the split.
    """

    def __init__(self, model, split, targets, bucket_by_length):
        import tensorflow as tf

        arranged = _arrange(model, split.inputs)
        self._arrays = tf.nest.map_structure(
            tf.constant, (arranged, _arrange_targets(model, targets))
        )
        self._is_trimmed = tf.nest.map_structure(lambda _: False, self._arrays)
        self.lengths = self._width = None
        if bucket_by_length:
            mask = split.inputs[MASK_NAME]
            self.lengths, self._width = example_lengths(mask), mask.shape[1]
            trimmed = trimmed_names(split.inputs)
            _check_free_length(model, trimmed)
            flags = {name: name in trimmed for name in split.inputs}
            self._is_trimmed = (_arrange(model, flags), self._is_trimmed[1])

    def dataset(self, batches):
        """Returns a `tf.data.Dataset` of `(inputs, targets)`.

        Args:
            batches: list of integer arrays of indices, one a batch.
        """
        import tensorflow as tf

        sizes = np.array([len(batch) for batch in batches])
        widths = np.zeros(len(batches), dtype=np.int64)
        if self.lengths is not None:
            widths[:] = [
                padded_length(self.lengths[batch], self._width) for batch in batches
            ]
        order = tf.constant(np.concatenate(batches))

        def gather(start, size, width):
            indices = order[start : start + size]

            def rows(array, is_trimmed):
                found = tf.gather(array, indices)
                return found[:, :width] if is_trimmed else found

            return tf.nest.map_structure(rows, self._arrays, self._is_trimmed)

        table = (np.cumsum(sizes) - sizes, sizes, widths)
        return tf.data.Dataset.from_tensor_slices(table).map(gather).prefetch(4)


def trimmed_names(inputs):
    """Returns the names of the inputs that share the length of the padding mask.

    Args:
        inputs: name -> array, `"padding_mask"` among them.
    Returns:
        Set of names of the arrays of shape `(n, length)`.
    """
    shape = inputs[MASK_NAME].shape
    return {name for name, array in inputs.items() if array.shape == shape}


def _arrange(model, values):
    """Arranges values by input name as `model` takes its inputs."""
    if len(model.inputs) == 1 and len(values) == 1:
        return next(iter(values.values()))
    if not is_keras3(model):
        return {name: _value(values, name, model) for name in model.input_names}
    structure = getattr(model, "input", None)  # a Sequential has none
    if isinstance(structure, dict):
        return {
            key: _value(values, tensor.name, model) for key, tensor in structure.items()
        }
    return tuple(_value(values, tensor.name, model) for tensor in model.inputs)


def _arrange_targets(model, targets):
    found = arrange_outputs(model, targets)
    return tuple(found) if isinstance(found, list) else found  # a list is an array


def _value(values, name, model):
    if name not in values:
        raise UnsupportedModelError(
            f"Model {model.name!r} has an input {name!r}, and the dataset has "
            f"{', '.join(sorted(values))}. Give both the same names."
        )
    return values[name]


def _check_free_length(model, names):
    tensors = model.inputs
    own_names = [t.name for t in tensors] if is_keras3(model) else model.input_names
    for name, tensor in zip(own_names, tensors, strict=True):
        if name in names and tensor.shape[1] is not None:
            raise UnsupportedModelError(
                f"Input {name!r} of model {model.name!r} has the fixed length "
                f"{tensor.shape[1]}, and bucket_by_length trims batches. Build the "
                "model with the input shape (None,), or set bucket_by_length=False."
            )
