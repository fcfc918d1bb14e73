"""Training under constraints on weights, such as "half of them are zero".

A constrained layer computes with what a `WeightConstraint` makes of its weight; its own
variable stays what is trained. There is one copy of each weight, the gradient passes
through the constraint, and all state is in `model.weights`, so that a training that was
killed goes on from its checkpoint to the bit. What the layer puts out may be rounded
too, within an `OutputRange`.
"""

import contextlib
import functools
import inspect

from tfcompress.methods.layer_weights import weight_place

# Of the names of layers that train under constraints.
PREFIX = "constrained_"
STOCK_PREFIX = "cluster_"  # of the wrappers of TFMOT that may keep zeros


class WeightConstraint:
    """Turns one trained weight into the values that its layer computes with.

    Subclasses hold settings and the variables that `build` makes. An instance serves
    one weight of one model.
    """

    def build(self, name, weight, add_weight):
        """Makes the variables of the constraint; it is called once, eagerly.

        Args:
            name: the weight's name, such as `"kernel"`.
            weight: its variable, with the values that training begins with.
            add_weight: function of `name`, `shape`, `dtype`, `initializer` and
                `trainable`, as a layer's own, that returns a variable of the model.
        """

    def __call__(self, weight, training):
        """Returns the values to compute with.

        Args:
            weight: the variable.
            training: whether it is for a training step: True, False or `None` (not).
        Returns:
            Tensor of the weight's shape and dtype. Its gradient with respect to the
            variable is what training goes by.
        """
        raise NotImplementedError


def constrain(model, constraints, ranges=None):
    """Copies a model so that it trains under constraints.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        constraints: layer name -> weight name -> `WeightConstraint`; the names of a
            layer's weights are those of `layer_weights`.
        ranges: layer name -> `OutputRange` of what the layer puts out, or `None`.
    Returns:
        tf_keras model of the same layers, in which each constrained layer `L` is
        `constrained_L`, a wrapper with the copy of `L` as its `layer`.
    """
    import tf_keras

    ranges = ranges or {}
    names = constraints.keys() | ranges.keys()

    def copy(layer):
        if layer.name not in names:
            return layer.__class__.from_config(layer.get_config())
        return _constrained_class()(
            copy_built(layer), constraints.get(layer.name, {}), ranges.get(layer.name)
        )

    wrapped = tf_keras.models.clone_model(model, clone_function=copy)
    for layer in model.layers:
        if layer.name not in names:
            wrapped.get_layer(layer.name).set_weights(layer.get_weights())
    return wrapped


def strip(wrapped, model):
    """Copies `model` with the weights that `wrapped` computes with.

    Args:
        wrapped: what `constrain` made of `model`, trained or not.
        model: the model without constraints; it is left as it was.
    Returns:
        tf_keras model of the same layers as `model`.
    """
    import tf_keras

    layers = {layer.name: layer for layer in wrapped.layers}
    stripped = tf_keras.models.clone_model(model)
    for layer in stripped.layers:
        wrapper = layers.get(PREFIX + layer.name)
        if wrapper is None:
            layer.set_weights(layers[layer.name].get_weights())
            continue
        layer.set_weights(wrapper.layer.get_weights())
        for name, values in wrapper.constrained_weights(training=False).items():
            holder, attribute = weight_place(layer, name)
            getattr(holder, attribute).assign(values)
    return stripped


def trained_weight(model, layer, weight):
    """Finds a weight of a model that may train under constraints.

    Args:
        model: tf_keras model, what `constrain` made or not.
        layer: name of the layer before constraints.
        weight: a name of `layer_weights`.
    Returns:
        `(variable, constraint)`: what is trained, and its `WeightConstraint` or `None`;
        both are `None` where TFMOT's own wrapper has the weight.
    """
    layers = {each.name: each for each in model.layers}
    wrapper = layers.get(PREFIX + layer)
    if wrapper is None and layer not in layers:
        stock = layers[STOCK_PREFIX + layer]
        if weight in stock.original_clusterable_weights:
            return None, None
        return getattr(*weight_place(stock.layer, weight)), None
    holder, attribute = weight_place(
        wrapper.layer if wrapper else layers[layer], weight
    )
    constraint = wrapper.constraints.get(weight) if wrapper else None
    return getattr(holder, attribute), constraint


def copy_built(layer):
    """Copies a tf_keras layer with its weights and their names."""
    import tensorflow as tf

    copy = layer.__class__.from_config(layer.get_config())
    with tf.name_scope(layer.name):  # weight decay goes by names
        copy.build_from_config(layer.get_build_config())
    copy.set_weights(layer.get_weights())
    return copy


@functools.cache
def _constrained_class():
    """Returns the wrapper's class; its base is in tf_keras, which is loaded late."""
    import tensorflow as tf
    import tf_keras

    class ConstrainedLayer(tf_keras.layers.Wrapper):
        """Computes a layer with what constraints make of its weights and outputs."""

        def __init__(self, layer, constraints, output_range):
            # The layer inside casts its inputs itself, if at all.
            super().__init__(
                layer, name=PREFIX + layer.name, dtype="float32", autocast=False
            )
            self.constraints = constraints
            self._output_range = output_range
            self.supports_masking = layer.supports_masking
            self._accepted = _accepted_arguments(layer)
            if not layer.trainable:
                self.trainable = False

        def build(self, input_shape=None):
            super().build(input_shape)
            for name, constraint in self.constraints.items():
                holder, attribute = weight_place(self.layer, name)
                add = functools.partial(self._add_weight_of, name)
                constraint.build(name, getattr(holder, attribute), add)
            if self._output_range is not None:
                add = functools.partial(self._add_weight_of, "output")
                self._output_range.build(add)

        def _add_weight_of(self, weight, name, **options):
            return self.add_weight(f"{weight}/{name}", **options)

        @tf.autograph.experimental.do_not_convert
        def call(self, inputs, *args, training=None, mask=None, **kwargs):
            options = {"training": training, "mask": mask}
            kwargs |= {key: options[key] for key in options if key in self._accepted}
            with _swapped(self.layer, self.constrained_weights(training)):
                outputs = self.layer(inputs, *args, **kwargs)
            if self._output_range is None:
                return outputs
            return self._output_range(outputs, training)

        def compute_mask(self, inputs, mask=None):
            return self.layer.compute_mask(inputs, mask)

        def constrained_weights(self, training):
            """Returns weight name -> tensor that the layer computes with."""
            values = {}
            for name, constraint in self.constraints.items():
                holder, attribute = weight_place(self.layer, name)
                values[name] = constraint(getattr(holder, attribute), training)
            return values

    return ConstrainedLayer


def _accepted_arguments(layer):
    """Returns which of `training` and `mask` the layer's `call` has."""
    return {"training", "mask"} & set(inspect.signature(layer.call).parameters)


@contextlib.contextmanager
def _swapped(layer, values):
    """Lets a layer have tensors in place of its variables inside the block."""
    import tensorflow as tf

    # An embedding casts what it looked up, not the table: the sum of a row's gradients
    # would lose bits.
    casts = layer.compute_dtype if layer._autocast else None
    places = [weight_place(layer, name) for name in values]
    variables = [vars(holder)[attribute] for holder, attribute in places]
    # Not through setattr, with which a layer would count the tensors as its parts.
    try:
        for (holder, attribute), value in zip(places, values.values(), strict=True):
            vars(holder)[attribute] = tf.cast(value, casts) if casts else value
        yield
    finally:
        for (holder, attribute), variable in zip(places, variables, strict=True):
            vars(holder)[attribute] = variable
