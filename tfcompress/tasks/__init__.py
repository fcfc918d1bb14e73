"""What a model's outputs are for: objective, heads and metrics; a file each.

    task = regression(name="price", unit="EUR")
    task = classification(["cat", "dog"])
    task = several_outputs({"kind": classification(kinds), "price": regression()})

No other part of the package names a metric or a kind of target.
"""

from tfcompress.tasks.accuracy import Accuracy, wilson_interval
from tfcompress.tasks.classification import classification
from tfcompress.tasks.comparing import agreement, is_constant, output_error
from tfcompress.tasks.head import (
    ClassHead,
    ClassPrediction,
    ValueHead,
    ValuePrediction,
    head_from_json,
)
from tfcompress.tasks.losses import CrossEntropy, MeanSquaredError
from tfcompress.tasks.macro_f1 import MacroF1
from tfcompress.tasks.metric import Estimate, Metric
from tfcompress.tasks.objective import Objective, arrange_outputs
from tfcompress.tasks.registry import (
    METRICS,
    difference_unit,
    format_difference,
    format_value,
    metric_named,
    metric_title,
)
from tfcompress.tasks.regression import regression
from tfcompress.tasks.regression_metrics import (
    R2,
    MeanAbsoluteError,
    RootMeanSquaredError,
)
from tfcompress.tasks.task import Task, several_outputs

__all__ = [
    "METRICS",
    "R2",
    "Accuracy",
    "ClassHead",
    "ClassPrediction",
    "CrossEntropy",
    "Estimate",
    "MacroF1",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "Objective",
    "RootMeanSquaredError",
    "Task",
    "ValueHead",
    "ValuePrediction",
    "agreement",
    "arrange_outputs",
    "classification",
    "difference_unit",
    "format_difference",
    "format_value",
    "head_from_json",
    "is_constant",
    "metric_named",
    "metric_title",
    "output_error",
    "regression",
    "several_outputs",
    "wilson_interval",
]
