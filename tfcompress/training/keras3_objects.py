"""Lets a tf_keras model take the optimizers, losses and so on of Keras 3.

Methods train tf_keras models, and a user of Keras 3 compiles the model in a `fit` of
their own with `keras.optimizers.Adam()`, which tf_keras does not know. Each such object
becomes one of tf_keras that does the same, or is refused in a line.
"""

import functools
import inspect
from collections.abc import Mapping

from tfcompress.errors import InvalidValueError

_HOOKS = (
    *(f"on_{what}_{when}" for what in ("train", "test", "predict") for when in
      ("begin", "end", "batch_begin", "batch_end")),
    "on_epoch_begin",
    "on_epoch_end",
)  # fmt: skip
# They work on the insides of a model or an optimizer of Keras 3.
_UNFIT_CALLBACKS = ("BackupAndRestore", "SwapEMAWeights", "TensorBoard")
# Settings of Keras 3's optimizers that tf_keras's lack; `None` is what they all do.
_UNKNOWN_SETTINGS = ("gradient_accumulation_steps", "loss_scale_factor")
_REDUCTIONS = {"sum_over_batch_size": "sum_over_batch_size", "sum": "sum"}
_REDUCTIONS |= {"mean": "sum_over_batch_size", "none": "none", None: "none"}
# Names that stand for a metric or loss which depends on the model's outputs.
_CHOSEN_BY_OUTPUTS = ("accuracy", "acc", "crossentropy", "ce")


def accept_keras3(model):
    """Lets `compile`, `fit`, `evaluate` and `predict` of a model take Keras 3 objects.

    Args:
        model: tf_keras model; it stays of its class.
    """
    if "compile" in vars(model):  # done before
        return
    for name in ("compile", "fit", "evaluate", "predict"):
        setattr(model, name, _translating(getattr(model, name)))


def _translating(method):
    """Returns a method of a tf_keras model that takes arguments of Keras 3 as well."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def translated(*args, **kwargs):
        kwargs.pop("auto_scale_loss", None)  # of float16, in which nothing is trained
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if name in _TRANSLATIONS:
                bound.arguments[name] = _map(_TRANSLATIONS[name], value)
        return method(*bound.args, **bound.kwargs)

    return translated


def _map(function, values):
    """Applies a function to the leaves of lists, tuples and mappings."""
    if isinstance(values, Mapping):
        return {key: _map(function, value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return type(values)(_map(function, value) for value in values)
    return function(values)


def _optimizer(value):
    """Returns the tf_keras optimizer for one of Keras 3, or for a name."""
    import keras
    import tf_keras

    if isinstance(value, str):
        _check_name("optimizer", value, tf_keras.optimizers)
        return value
    if not isinstance(value, keras.optimizers.Optimizer):
        return value
    twin = _twin_class("optimizer", value, tf_keras.optimizers)
    config = value.get_config()
    for name in _UNKNOWN_SETTINGS:
        if (setting := config.pop(name, None)) is not None:
            raise InvalidValueError(
                f"The optimizer {type(value).__name__} has {name}={setting!r}, which "
                "tf_keras, whose models compress() trains, cannot do. Leave it out."
            )
    schedule = config["learning_rate"]
    if isinstance(schedule, Mapping):
        config["learning_rate"] = _schedule(schedule)
    return twin.from_config(config)


def _schedule(config):
    """Returns the tf_keras learning rate schedule of a config of Keras 3."""
    import tf_keras

    schedules, name = tf_keras.optimizers.schedules, config["class_name"]
    twin = _of_keras(config["module"]) and getattr(schedules, name, None)
    if not twin:
        raise _refusal(
            "learning rate schedule", name, f"take one of {schedules.__name__}"
        )
    return twin.from_config(config["config"])


def _loss(value):
    """Returns the tf_keras loss for one of Keras 3, or for a name."""
    import keras
    import tf_keras

    if isinstance(value, str):
        if value in _CHOSEN_BY_OUTPUTS or _is_known(value, tf_keras.losses):
            return value
        try:
            value = keras.losses.get(value)
        except ValueError:
            raise _unknown_name("loss", value) from None
    if not isinstance(value, keras.losses.Loss):
        return value
    if value.reduction not in _REDUCTIONS:
        raise InvalidValueError(
            f"The loss {type(value).__name__} has reduction={value.reduction!r}, which "
            "tf_keras, whose models compress() trains, cannot do. Take one of sum, "
            "sum_over_batch_size, none."
        )
    # Not the class of that name: configs of Keras 3 lack settings, as Huber's delta.
    return _adapted_loss()(value, _REDUCTIONS[value.reduction])


@functools.cache
def _adapted_loss():
    import tf_keras

    class AdaptedLoss(tf_keras.losses.Loss):
        """Computes what a loss of Keras 3 computes, before its reduction."""

        def __init__(self, loss, reduction):
            super().__init__(reduction=reduction, name=loss.name)
            self._loss = loss

        def call(self, y_true, y_pred):
            return self._loss.call(y_true, y_pred)

    return AdaptedLoss


def _metric(value):
    """Returns the tf_keras metric for one of Keras 3, or for a name."""
    import keras
    import tf_keras

    if isinstance(value, str):
        if value not in _CHOSEN_BY_OUTPUTS:
            _check_name("metric", value, tf_keras.metrics)
        return value
    if not isinstance(value, keras.metrics.Metric):
        return value
    twin = _twin_class("metric", value, tf_keras.metrics)
    accepted = inspect.signature(twin.__init__).parameters
    settings = value.get_config() | getattr(value, "_fn_kwargs", {})
    settings["fn"] = getattr(value, "_fn", None)  # of a MeanMetricWrapper
    return twin(**{name: settings[name] for name in settings if name in accepted})


def _callback(value):
    """Returns the tf_keras callback for one of Keras 3."""
    import keras

    if not isinstance(value, keras.callbacks.Callback):
        return value
    kinds = (getattr(keras.callbacks, name) for name in _UNFIT_CALLBACKS)
    if isinstance(value, tuple(kinds)):
        advice = "take the one of tf_keras.callbacks"
        raise _refusal("callback", type(value).__name__, advice)
    return _adapted_callback()(value)


@functools.cache
def _adapted_callback():
    import tf_keras

    class AdaptedCallback(tf_keras.callbacks.Callback):
        """Calls a callback of Keras 3."""

        def __init__(self, callback):
            super().__init__()
            self._callback = callback

        def set_params(self, params):
            self._callback.set_params(params)

        def set_model(self, model):
            self.model = model
            self._callback.set_model(model)

    def forwarding(hook):
        def call(self, *args, **kwargs):
            return getattr(self._callback, hook)(*args, **kwargs)

        return call

    for hook in _HOOKS:
        setattr(AdaptedCallback, hook, forwarding(hook))
    return AdaptedCallback


def _compiled(value):
    """Returns `jit_compile` as tf_keras knows it."""
    return None if value == "auto" else value


_TRANSLATIONS = {
    "optimizer": _optimizer,
    "loss": _loss,
    "metrics": _metric,
    "weighted_metrics": _metric,
    "callbacks": _callback,
    "jit_compile": _compiled,
}


def _twin_class(what, value, module):
    """Returns the class of tf_keras with the name of one of Keras 3's own."""
    name = type(value).__name__
    twin = _of_keras(type(value).__module__) and getattr(module, name, None)
    if not twin:
        raise _refusal(what, name, f"take one of {module.__name__}")
    return twin


def _of_keras(module):
    return module.partition(".")[0] == "keras"


def _refusal(what, name, advice):
    return InvalidValueError(
        f"The {what} {name} is of Keras 3, and compress() trains a model of tf_keras, "
        f"which has none like it: {advice}."
    )


def _check_name(what, name, module):
    if not _is_known(name, module):
        raise _unknown_name(what, name)


def _is_known(name, module):
    try:  # of metrics an unknown name comes back as it is
        return not isinstance(module.get(name), str)
    except ValueError:
        return False


def _unknown_name(what, name):
    return InvalidValueError(
        f"The {what} {name!r} is none of tf_keras, whose models compress() trains. "
        f"Take one of tf_keras.{'losses' if what == 'loss' else what + 's'}."
    )
