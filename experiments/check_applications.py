"""Check that the models of keras.applications cross the bridge and come back.

    make experiment NAME=check_applications
    make experiment NAME=check_applications ARGS="--models=MobileNetV2,ConvNeXtTiny"

Every classification model of the installed Keras is built with random weights and
statistics, crosses to tf_keras, and comes back into a source of zeros. Logits, before
any softmax, are compared on random images. A model that cannot cross is a row with the
line of its error. `make docs` puts the table into docs/applications.md.

Expected on 2 cores: 10 minutes for all 40, up to 7 GB of memory; every difference below
1e-5 of the largest logit, and none at all on the way back. The status is 1 if a model
differs by more, or fails otherwise than by a refusal.
"""

import dataclasses
import difflib
import functools
import gc
import time

from experiments._check_page import check_folder, write_page
from tfcompress import entry_point
from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.runner.settings import CheckSettings
from tfcompress.settings import setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(CheckSettings):
    """What the check's flags say."""

    models: tuple[str, ...] = setting(
        (), "Models of keras.applications, such as MobileNetV2. Default: all."
    )


IMAGE_SHAPE = (
    96,
    80,
    3,
)  # the smallest multiple of 16 that all of them take, not square
TOLERANCE = 1e-5  # of the largest logit
_NUM_IMAGES = 4
_PACKAGES = ("keras", "tensorflow", "tf-keras", "numpy")
_HEAD = """\
| model | weights | crossing, s | difference | back | crosses |
| --- | ---: | ---: | ---: | ---: | --- |"""
_MIN_SPREAD = 0.01  # a thousand times the tolerance
# 1 / mean of the activation's square for normal inputs; 2 for ReLU and all others.
_GAINS = {"silu": 2.8, "hard_silu": 2.8}
# A model's failure is its row, so that the list is not cut short; what a user or the
# machine stops (KeyboardInterrupt, OSError) ends the run.
_FAILURES = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError)
_FAILURES += (TypeError, ValueError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Check:
    """What was found out about one model; `None` where it did not get so far.

    Attributes:
        name: of the function in keras.applications.
        num_weights: of the model at `IMAGE_SHAPE`.
        seconds: that `to_tf_keras` took.
        difference: largest of source and bridge, relative to the largest logit.
        returned: the same of the source and what `to_keras3` gave back.
        spread: range of a logit over the images, relative to the largest logit; of the
            logit where it is widest. Near 0 a comparison would say little.
        failure: line of the error, if there was one.
        is_refusal: whether the failure is the bridge's own.
    """

    name: str
    num_weights: int | None = None
    seconds: float | None = None
    difference: float | None = None
    returned: float | None = None
    spread: float | None = None
    failure: str | None = None
    is_refusal: bool = False

    @property
    def is_well(self):
        """Whether the model agrees, or is refused in words."""
        if self.failure is not None:
            return self.is_refusal
        return self.difference <= TOLERANCE and self.returned == 0.0


def main(settings):
    """Checks the models that the settings name; returns the exit status."""
    checks = []
    with check_folder(settings, "check_applications") as (folder, console):
        names = chosen_models(settings.models)
        for name in names:
            console.print(f"{len(checks) + 1} of {len(names)}: {name}", end=" ")
            checks.append(check_model(name, settings.seed))
            console.print(describe(checks[-1]), soft_wrap=True)
        write_table(folder / "table.md", settings, checks)
    return 0 if all(check.is_well for check in checks) else 1


def chosen_models(names):
    """Returns the names of the models to check, all of them if `names` is empty.

    Raises:
        InvalidValueError: if keras.applications has no such model.
    """
    import keras

    known = [
        name
        for name, value in vars(keras.applications).items()
        if name[0].isupper() and callable(value)
    ]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidValueError(
                f"--models: keras.applications has no model {name!r}.{hint} It has "
                f"{', '.join(sorted(known))}."
            )
    return sorted(set(names or known))


def check_model(name, seed=0):
    """Builds a model, crosses it there and back, and compares; returns its `Check`."""
    import keras
    import tensorflow as tf
    import tf_keras

    check = Check(name=name)
    try:
        for changes in _stages(name, seed):
            check = dataclasses.replace(check, **changes)
    except UnsupportedModelError as error:
        check = dataclasses.replace(check, failure=str(error), is_refusal=True)
    except (*_FAILURES, tf.errors.OpError) as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())
        check = dataclasses.replace(check, failure=line)
    keras.backend.clear_session()
    tf_keras.backend.clear_session()  # its graph keeps every layer that was called
    gc.collect()
    return check


def _stages(name, seed):
    """Yields what each stage of a check finds out, as fields of `Check`."""
    from tfcompress.bridge import to_keras3, to_tf_keras

    model, images = make_model(name, seed)
    yield {"num_weights": model.count_params()}
    began = time.monotonic()
    flat = to_tf_keras(model)
    yield {"seconds": time.monotonic() - began}
    expected = model(images).numpy()
    yield {"spread": relative_spread(expected)}
    yield {"difference": relative_difference(expected, flat(images).numpy())}
    forget_weights(model)
    returned = to_keras3(model, flat)(images).numpy()
    yield {"returned": relative_difference(expected, returned)}


def make_model(name, seed=0):
    """Builds a model whose weights and statistics are random and whose logits are sane.

    Kernels are drawn so that activations keep their size, and BatchNormalization's
    statistics fit what it meets on the images: nothing vanishes or explodes in the
    deepest model. See `_take_statistics`.

    Args:
        name: of a function in keras.applications.
        seed: of weights and images.
    Returns:
        `(model, images)`: a Keras 3 model that gives logits, and images for it, float32
        of shape `(4, *IMAGE_SHAPE)`.
    """
    import keras
    import numpy as np

    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=IMAGE_SHAPE, classifier_activation=None
    )
    layers = _all_layers(model)
    gain = max(_GAINS.get(_activation_name(layer), 2.0) for layer in layers)
    for layer in layers:
        for variable in layer.weights:
            if "int" not in variable.dtype:
                variable.assign(_random_value(layer, variable, gain, rng))
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    images = _make_images(layers, rng)
    _take_statistics(model, images, rng)
    return model, images


def forget_weights(model):
    """Zeroes all weights but the statistics of Normalization, which are constants."""
    import keras

    for layer in _all_layers(model):
        if not isinstance(layer, keras.layers.Normalization):
            for variable in layer.weights:
                variable.assign(keras.ops.zeros_like(variable))


def relative_difference(expected, received):
    """Returns the largest difference of two arrays relative to the first's largest.

    Raises:
        ArithmeticError: if either has a value that is no number.
    """
    import numpy as np

    expected, received = (np.asarray(x, np.float64) for x in (expected, received))
    if not (np.isfinite(expected).all() and np.isfinite(received).all()):
        raise ArithmeticError("the logits hold values that are no finite numbers")
    return float(np.abs(expected - received).max() / np.abs(expected).max())


def relative_spread(logits):
    """Returns the widest range of a logit over the images, relative to the largest.

    Raises:
        ArithmeticError: if it is below 0.01: all images look alike to the model.
    """
    import numpy as np

    spread = float(np.ptp(logits, axis=0).max() / np.abs(logits).max())
    if not spread >= _MIN_SPREAD:
        raise ArithmeticError(
            f"the logits hardly depend on the image (spread {spread:.1e}), so that a "
            "comparison would say little"
        )
    return spread


def describe(check):
    """Returns what became of a model, on one line."""
    if check.failure is not None:
        return f"{'refused' if check.is_refusal else 'FAILED'}: {check.failure}"
    verdict = "" if check.is_well else " TOO FAR"
    return (
        f"{check.seconds:.1f} s, difference {check.difference:.1e}, back "
        f"{check.returned:.1e}, spread {check.spread:.2f}{verdict}"
    )


def write_table(path, settings, checks):
    """Writes the checks as a Markdown table, with what they were made by and on."""
    crossed = sum(check.failure is None and check.is_well for check in checks)
    parts = [
        f"{crossed} of {len(checks)} models cross. {_NUM_IMAGES} random images of "
        f"{' x '.join(map(str, IMAGE_SHAPE))}.",
        "\n".join([_HEAD, *map(_table_line, checks)]),
    ]
    write_page(path, "check_applications", settings, parts, packages=_PACKAGES)


def _table_line(check):
    if check.failure is not None:
        verdict = "refused" if check.is_refusal else "failed"
        text = check.failure.replace("|", "\\|")
        return f"| {check.name} | {_count(check)} | - | - | - | {verdict}: {text} |"
    return (
        f"| {check.name} | {_count(check)} | {check.seconds:.1f} | "
        f"{check.difference:.1e} | {check.returned:.1e} | "
        f"{'yes' if check.is_well else 'too far'} |"
    )


def _count(check):
    return "-" if check.num_weights is None else f"{check.num_weights:,}"


def _all_layers(model):
    """Returns the layers of a model and of those nested in it."""
    nested = [_all_layers(x) if hasattr(x, "layers") else [x] for x in model.layers]
    return [layer for layers in nested for layer in layers]


def _activation_name(layer):
    return getattr(getattr(layer, "activation", None), "__name__", None)


def _take_statistics(model, images, rng):
    """Gives each BatchNormalization random statistics that fit what it gets.

    Its variance is about four times that of its input, and about 1 if that is less. A
    network that is normalized to variance 1 throughout is chaotic: one rounding of the
    pixels moves the logits of EfficientNetB7 by 1e-4, whatever computes them.
    """
    import keras
    import numpy as np

    def call(norm, own_call, inputs, **_):
        axes = tuple(range(len(inputs.shape) - 1))
        power = np.square(inputs.numpy()).mean(axes)
        variance = np.maximum(4.0 * power, 1.0)
        norm.moving_variance.assign(variance * rng.uniform(0.7, 1.4, power.shape))
        mean = 0.2 * np.sqrt(power) * rng.standard_normal(power.shape)
        norm.moving_mean.assign(mean)
        return own_call(inputs)

    layers = _all_layers(model)
    norms = [x for x in layers if isinstance(x, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.call = functools.partial(call, norm, norm.call)
    model(images)
    for norm in norms:
        del norm.call


def _random_value(layer, variable, gain, rng):
    """Returns a random value for a weight or a statistic, float32.

    Args:
        layer: the Keras 3 layer.
        variable: one of its variables.
        gain: variance of a kernel times the number of inputs of an output.
        rng: numpy generator.
    """
    import keras
    import numpy as np

    shape = variable.shape
    if isinstance(layer, keras.layers.Normalization):  # of pixels in [0, 1]
        low, high = (0.4, 0.5) if variable.name == "mean" else (0.04, 0.06)
        return rng.uniform(low, high, shape).astype(np.float32)
    if len(shape) > 1:
        of_channels = "depthwise" in variable.name or isinstance(
            layer, keras.layers.DepthwiseConv2D
        )
        fan_in = np.prod(shape[:-2] if of_channels else shape[:-1])
        return rng.standard_normal(shape, np.float32) * np.float32(
            np.sqrt(gain / fan_in)
        )
    if variable.name in ("bias", "beta", "moving_mean"):
        return 0.1 * rng.standard_normal(shape, np.float32)
    return rng.uniform(0.5, 1.5, shape).astype(np.float32)


def _make_images(layers, rng):
    """Returns random images of coarse blocks, which differ by more than their noise.

    They are pixels of 0 to 255 where the model brings them to its own range, and
    in [-1, 1] otherwise.
    """
    import keras
    import numpy as np

    height, width, channels = IMAGE_SHAPE
    blocks = rng.uniform(-1, 1, (_NUM_IMAGES, height // 16, width // 16, channels))
    fine = rng.uniform(-1, 1, (_NUM_IMAGES, height, width, channels))
    images = (0.8 * blocks.repeat(16, 1).repeat(16, 2) + 0.2 * fine).astype(np.float32)
    own_range = (keras.layers.Rescaling, keras.layers.Normalization)
    if any(isinstance(layer, own_range) for layer in layers):
        return (images + 1.0) * 127.5
    return images


if __name__ == "__main__":
    entry_point.run(main, Settings)
