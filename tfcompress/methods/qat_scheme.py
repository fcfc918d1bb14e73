"""A quantization scheme for TFMOT's `quantize_apply`: what it wraps, and with what.

TFMOT's own wrapper calls `layer.call` with tensors in the place of the layer's weights.
That loses the layer's dtype policy (one that computes in bfloat16 puts out float32),
leaves tensors of a finished graph behind in the layer, and trains the kernels of frozen
layers. The scheme therefore brings a wrapper of its own, a kind of TFMOT's, and sets it
in the step that `quantize_apply` has for changes of the graph (docs/decisions/qat.md).

This module imports TensorFlow and TFMOT when it is loaded, since classes need their
bases: import it inside functions only.
"""

import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from tfcompress.methods.constrained import PREFIX, accepted_arguments, swapped
from tfcompress.methods.layer_weights import weight_place

_qat = tfmot.quantization.keras
_ACTIVATION_BITS = 8


def quantize(model, constraints, ranges):
    """Copies a model so that it trains with quantized weights and outputs.

    Args:
        model: flat functional tf_keras model; it is left as it was.
        constraints: layer name -> weight name -> `WeightConstraint`.
        ranges: layer name -> `RangeQuantizer` of its output. There is a layer in at
            least one of the two.
    Returns:
        tf_keras model in which each such layer `L` is wrapped as `constrained_L`, as
        `constrained.strip` and `constrained.trained_weight` know it.
    """
    configs = {
        name: LayerConfig(constraints.get(name, {}), ranges.get(name))
        for name in constraints.keys() | ranges.keys()
    }

    def annotate(layer):
        copy = layer.__class__.from_config(layer.get_config())
        return _qat.quantize_annotate_layer(copy) if layer.name in configs else copy

    annotated = tf_keras.models.clone_model(model, clone_function=annotate)
    annotated.set_weights(model.get_weights())
    return _qat.quantize_apply(annotated, Scheme(configs))


class Scheme(_qat.QuantizeScheme):
    """Wraps the layers that a plan names.

    Args:
        configs: layer name -> `LayerConfig`.
    """

    def __init__(self, configs):
        self._registry = Registry(configs)

    def get_layout_transformer(self):
        """Returns what wraps the layers; it changes nothing else."""
        return Wrapping(self._registry)

    def get_quantize_registry(self):
        """Returns the `Registry`."""
        return self._registry


class Registry(_qat.QuantizeRegistry):
    """Knows layers by name, since the plan has looked at their types.

    Args:
        configs: layer name -> `LayerConfig`.
    """

    def __init__(self, configs):
        self._configs = configs

    def supports(self, layer):
        """Whether the layer is quantized."""
        return layer.name in self._configs

    def get_quantize_config(self, layer):
        """Returns the `LayerConfig` of a layer."""
        return self._configs[layer.name]


class Wrapping(_qat.QuantizeLayoutTransform):
    """Sets `QuantizedLayer` in the places that TFMOT would give its own wrapper.

    Args:
        registry: `Registry`.
    """

    def __init__(self, registry):
        self._registry = registry

    def apply(self, model, layer_quantize_map):
        """Returns the model with wrappers, and nothing left to wrap."""

        def wrap(layer):
            if not self._registry.supports(layer):
                return layer
            return QuantizedLayer(layer, self._registry.get_quantize_config(layer))

        return tf_keras.models.clone_model(model, clone_function=wrap), {}


class LayerConfig(_qat.QuantizeConfig):
    """The quantizers of one layer.

    Args:
        constraints: weight name -> `WeightConstraint`.
        output_range: `RangeQuantizer` of the output, or `None`.
    """

    def __init__(self, constraints, output_range):
        self.constraints = constraints
        self._output_range = output_range

    def get_weights_and_quantizers(self, layer):
        """Returns `(variable, ConstraintQuantizer)` of every quantized weight."""
        variables = [getattr(*weight_place(layer, name)) for name in self.constraints]
        return [
            (variable, ConstraintQuantizer(name, constraint, variable))
            for variable, (name, constraint) in zip(
                variables, self.constraints.items(), strict=True
            )
        ]

    def get_activations_and_quantizers(self, layer):
        """Returns none: the bridge makes every activation a layer."""
        return []

    def set_quantize_weights(self, layer, quantize_weights):
        """Does nothing: `QuantizedLayer` has the values in place for a call only."""

    def set_quantize_activations(self, layer, quantize_activations):
        """Does nothing: there are none."""

    def get_output_quantizers(self, layer):
        """Returns the quantizer of the output, or none."""
        return [] if self._output_range is None else [self._output_range]

    def get_config(self):
        """Returns what JSON can hold: nothing of a plan of one training."""
        return {}


class ConstraintQuantizer(_qat.quantizers.Quantizer):
    """A `WeightConstraint` as a quantizer of TFMOT's.

    Args:
        name: the weight's name, as of `layer_weights`.
        constraint: `WeightConstraint`.
        variable: the weight, with the values that training begins with.
    """

    def __init__(self, name, constraint, variable):
        self._name = name
        self._constraint = constraint
        self._variable = variable

    def build(self, tensor_shape, name, layer):
        """Makes the variables of the constraint in the wrapper `layer`."""

        def add_weight(name, **options):
            return layer.add_weight(f"{self._name}/{name}", **options)

        self._constraint.build(self._name, self._variable, add_weight)
        return {}

    def __call__(self, inputs, training, weights, **kwargs):
        """Returns the values to compute with."""
        return self._constraint(inputs, training)

    def get_config(self):
        """Returns what JSON can hold."""
        return {"name": self._name}


class RangeQuantizer(_qat.quantizers.Quantizer):
    """Rounds a tensor to 256 values of a range that follows the training's batches.

    TFMOT's `MovingAverageQuantizer` begins at -6 to 6 and cannot be frozen. This one
    begins where `calibrate` puts it, moves by `rate` towards each batch's range, and
    stays where it is when that variable is 0.

    Args:
        rate: float32 variable, shape `()`: share of the way to a batch's range.
    """

    def __init__(self, rate):
        self._rate = rate
        self.observe = None  # function of a tensor, in calibration
        self.minimum = self.maximum = self.shares = None  # variables, once built

    def build(self, tensor_shape, name, layer):
        """Makes the range, and which share of a batch's own range it goes by."""

        def add(what, shape, initializer):
            return layer.add_weight(
                f"{name}/{what}",
                shape=shape,
                dtype="float32",
                initializer=initializer,
                trainable=False,
            )

        self.minimum = add("minimum", (), "zeros")
        self.maximum = add("maximum", (), "zeros")
        self.shares = add("shares", (2,), "ones")
        return {}

    def __call__(self, inputs, training, weights=None, **kwargs):
        """Returns `inputs`, rounded, in their shape and dtype."""
        if self.observe is not None:
            self.observe(inputs)
            return inputs
        values = tf.cast(inputs, tf.float32)
        if training:
            self._follow(values)
        rounded = tf.quantization.fake_quant_with_min_max_vars(
            values, self.minimum, self.maximum, num_bits=_ACTIVATION_BITS
        )
        return tf.cast(rounded, inputs.dtype)

    def set(self, minimum, maximum, shares=(1.0, 1.0)):
        """Sets the range, and the shares of a batch's range that are gone by.

        Args:
            minimum: number, at most 0.
            maximum: number, at least 0.
            shares: of the lower and of the upper end, in [0, 1].
        """
        self.minimum.assign(minimum)
        self.maximum.assign(maximum)
        self.shares.assign(shares)

    def _follow(self, values):
        low = tf.minimum(tf.reduce_min(values) * self.shares[0], 0.0)
        high = tf.maximum(tf.reduce_max(values) * self.shares[1], 0.0)
        self.minimum.assign_add(self._rate * (low - self.minimum))
        self.maximum.assign_add(self._rate * (high - self.maximum))

    def get_config(self):
        """Returns what JSON can hold."""
        return {}


class QuantizedLayer(_qat.QuantizeWrapperV2):
    """Computes a layer with quantized weights, and quantizes its output.

    Args:
        layer: built tf_keras layer.
        quantize_config: its `LayerConfig`.
    """

    def __init__(self, layer, quantize_config):
        # The layer inside casts its inputs itself, if at all.
        super().__init__(
            layer,
            quantize_config,
            name=PREFIX + layer.name,
            dtype="float32",
            autocast=False,
        )
        self.constraints = quantize_config.constraints
        self.supports_masking = layer.supports_masking
        self._accepted = accepted_arguments(layer)

    @property
    def trainable_weights(self):
        """The variables that train: none of a frozen layer."""
        return tf_keras.layers.Layer.trainable_weights.fget(self)

    @property
    def non_trainable_weights(self):
        """All other variables."""
        return tf_keras.layers.Layer.non_trainable_weights.fget(self)

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs, *args, training=None, mask=None, **kwargs):
        """Calls the layer by its dtype policy and leaves its variables in place."""
        options = {"training": training, "mask": mask}
        kwargs |= {key: options[key] for key in options if key in self._accepted}
        with swapped(self.layer, self.constrained_weights(training)):
            outputs = self.layer(inputs, *args, **kwargs)
        for quantizer in self._output_quantizers:
            outputs = quantizer(outputs, training, self._output_quantizer_vars)
        return outputs

    def compute_mask(self, inputs, mask=None):
        """Returns the mask that the layer inside passes on."""
        return self.layer.compute_mask(inputs, mask)

    def constrained_weights(self, training):
        """Returns weight name -> tensor that the layer computes with."""
        return {
            name: quantizer(variable, training, quantizer_variables)
            for name, (variable, quantizer, quantizer_variables) in zip(
                self.constraints, self._weight_vars, strict=True
            )
        }
