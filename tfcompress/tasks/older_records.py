"""Quality as records of versions 2 and 3 have it, when every model was a classifier."""

import numpy as np

from tfcompress.tasks.accuracy import Accuracy
from tfcompress.tasks.macro_f1 import MacroF1

_KEPT = (
    "keras_agreement",
    "dense_agreement",
    "baseline_agreement",
    "output_error",
    "inherited_from",
)
_FIGURES = (
    "accuracy",
    "accuracy_low",
    "accuracy_high",
    "macro_f1",
    "flips_to_wrong",
    "flips_to_right",
)


def newer_quality(section):
    """Returns the `quality` section of version 4 for one of version 2 or 3.

    Args:
        section: dict of the fields of version 3; of version 2 without `output_error`.
            A field of neither version stays, for the check of the schema to find.
    """
    known = {*_KEPT, *_FIGURES}
    if not known - {"output_error"} <= set(section):
        return section  # the check says what is missing
    newer = {name: section.get(name) for name in _KEPT}
    newer |= {name: value for name, value in section.items() if name not in known}
    newer |= {"primary": None, "metrics": None, "is_constant": None}
    if section["accuracy"] is not None:
        accuracy, macro_f1 = Accuracy(), MacroF1()
        bounds = (section["accuracy_low"], section["accuracy_high"])
        newer["primary"] = accuracy.name
        newer["metrics"] = {
            accuracy.name: _figure(accuracy, section["accuracy"], *bounds),
            macro_f1.name: _figure(macro_f1, section["macro_f1"], None, None),
        }
    newer["num_worse"] = section["flips_to_wrong"]
    newer["num_better"] = section["flips_to_right"]
    return newer


def newer_validation(section):
    """Returns a section with `validation_accuracy` as `metric`, `validation_score`."""
    newer = {name: v for name, v in section.items() if name != "validation_accuracy"}
    if "validation_accuracy" in section:
        score = section["validation_accuracy"]
        newer["validation_score"] = score
        newer["metric"] = None if score is None else Accuracy.name
    return newer


def scores_of_labels(predicted, expected):
    """Returns metric name -> scores, of the labels that older runs kept.

    Args:
        predicted, expected: int arrays, shape `(n,)`.
    """
    metrics = (Accuracy(), MacroF1())
    return {
        metric.name: metric.score(predicted, np.asarray(expected)) for metric in metrics
    }


def _figure(metric, value, low, high):
    figure = {"value": value, "low": low, "high": high, "unit": metric.unit}
    return figure | {"higher_is_better": metric.higher_is_better}
