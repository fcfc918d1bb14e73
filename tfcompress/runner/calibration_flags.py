"""The flags of experiments that write static files.

A module takes them over by `flags.adopt_module_key_flags(calibration_flags)`.
"""

from absl import flags

from tfcompress.activation_ranges import RANGE_ESTIMATORS
from tfcompress.runner.calibration import Calibration
from tfcompress.runner.flags import check_at_least

flags.DEFINE_integer(
    "calibration_examples",
    300,
    "Training examples from which the ranges of static quantization are found.",
)
flags.DEFINE_enum(
    "range_estimator",
    "min_max",
    RANGE_ESTIMATORS,
    "What a range holds: all values that were seen, or all but 0.01% at either end.",
)


def calibration_from_flags(seed):
    """Returns the `Calibration` of the parsed flags, and the flags as a dict.

    Args:
        seed: of the choice of examples.
    Raises:
        InvalidValueError: if no example is asked for.
    """
    own = {
        name: flags.FLAGS[name].value
        for name in ("calibration_examples", "range_estimator")
    }
    check_at_least("calibration_examples", own["calibration_examples"], 1)
    calibration = Calibration(
        num_examples=own["calibration_examples"],
        range_estimator=own["range_estimator"],
        seed=seed,
    )
    return calibration, own
