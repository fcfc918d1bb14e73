"""Benchmark the coding of a convolutional model: MobileNetV2 at 16 clusters a tensor.

    make experiment NAME=benchmark_mobilenet

MobileNetV2 of keras.applications, its BatchNormalization folded, each kernel clustered
once, without training; TFLite, ONNX and OpenVINO files, dense and coded, timed in turn
on random images. In TFLite a 1x1 convolution with decoded weights becomes a product of
matrices, which takes longer; the row `slow_left` leaves all convolutions dense. This
measures bytes, equality and time. It says nothing of accuracy: the weights are random,
as pretrained ones would have to be downloaded.

Expected on 2 cores: 8 minutes; the coded ONNX and IR files at least 6 times smaller
than the dense ones, with the same outputs to the bit, at the dense files' latency.
"""

import dataclasses

from tfcompress import entry_point
from tfcompress.methods import ClusterConfig
from tfcompress.recipe import recipe_to_text
from tfcompress.runner.rows import Row, standard_targets
from tfcompress.runner.settings import TimingSettings
from tfcompress.settings import check_at_least, setting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(TimingSettings):
    """What the benchmark's flags say."""

    num_clusters: int = setting(16, "Values that a kernel keeps, 2 to 256.")
    image_size: int = setting(224, "Height and width of the images, pixels.")

    def __post_init__(self):
        super().__post_init__()
        check_at_least(self, 32, "image_size")


_NUM_IMAGES = 32


def main(settings):
    """Runs the benchmark; returns the exit status."""
    config = ClusterConfig(num_clusters=settings.num_clusters)
    from tfcompress.runner.file_benchmark import run_file_benchmark

    return run_file_benchmark(
        "benchmark_mobilenet",
        make_rows(config, settings.formats),
        lambda: make_result(config, settings.image_size, settings.seed),
        lambda model: make_inputs(model, settings.seed),
        settings,
    )


def make_rows(config, formats):
    """Returns the benchmark's rows; none has the Keras model as a file."""
    recipe = recipe_to_text((config,))
    targets = standard_targets(formats, ("dense", "coded"))[1:]
    rows = [Row(name="clustered", recipe=recipe, targets=targets)]
    of_tflite = tuple(v for v in targets if v.format == "tflite")
    if of_tflite:
        rows.append(
            Row(
                name="slow_left",
                recipe=recipe,
                targets=of_tflite,
                coding_options={"slow_layers": "leave"},
            )
        )
    return tuple(rows)


def make_result(config, image_size, seed):
    """Returns what `compress` makes of a folded MobileNetV2 with logits."""
    import keras
    import numpy as np

    from tfcompress.bridge import fold_batch_norm
    from tfcompress.compress import compress

    keras.utils.set_random_seed(seed)
    model = keras.applications.MobileNetV2(
        input_shape=(image_size, image_size, 3),
        weights=None,
        classifier_activation=None,
    )
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            # New statistics are zeros and ones, which folding would leave no trace of.
            shape = layer.get_weights()[0].shape
            gamma, variance = rng.uniform(0.5, 1.5, (2, *shape))
            beta, mean = 0.1 * rng.standard_normal((2, *shape))
            layer.set_weights([gamma, beta, mean, variance])
    return compress(fold_batch_norm(model), (config,))


def make_inputs(model, seed):
    """Returns 32 random images in [-1, 1] as the model's one input, float32."""
    import numpy as np

    (tensor,) = model.inputs
    shape = (_NUM_IMAGES, *tensor.shape[1:])
    images = np.random.default_rng(seed).uniform(-1, 1, shape)
    return {tensor.name: images.astype(np.float32)}


if __name__ == "__main__":
    entry_point.run(main, Settings)
