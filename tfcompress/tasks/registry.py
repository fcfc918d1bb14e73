"""The metrics that a record can name, and how a figure of theirs is written."""

from tfcompress.errors import InvalidValueError
from tfcompress.tasks.accuracy import Accuracy
from tfcompress.tasks.macro_f1 import MacroF1
from tfcompress.tasks.metric import Metric
from tfcompress.tasks.regression_metrics import (
    R2,
    MeanAbsoluteError,
    RootMeanSquaredError,
)

METRICS = {
    metric.name: metric
    for metric in (
        Accuracy(),
        MacroF1(),
        RootMeanSquaredError(),
        MeanAbsoluteError(),
        R2(),
    )
}


def metric_named(name: str) -> Metric:
    """Returns the metric that a record names.

    Args:
        name: as in a record; of several outputs `"output.metric"`.
    Raises:
        InvalidValueError: if it is none of `METRICS`.
    """
    own = name.rpartition(".")[2]
    if own not in METRICS:
        raise InvalidValueError(
            f"The metric {name!r} is none of this package's, which are "
            f"{', '.join(METRICS)}: its scores cannot be compared here."
        )
    return METRICS[own]


def metric_title(name: str) -> str:
    """Returns what tables call a metric of a record.

    >>> metric_title("price.rmse"), metric_title("macro_f1"), metric_title("my_own")
    ('price RMSE', 'macro F1', 'my_own')
    """
    output, _, own = name.rpartition(".")
    title = METRICS[own].title if own in METRICS else own
    return f"{output} {title}" if output else title


def format_value(value: float, unit: str) -> str:
    """Writes a figure of a metric, without its unit.

    >>> format_value(0.87124, "share"), format_value(1234.567, "EUR")
    ('0.8712', '1235')
    """
    return f"{value:.4f}" if unit == "share" else f"{value:.4g}"


def format_difference(value: float, unit: str) -> str:
    """Writes a difference; of shares in points of a hundredth.

    >>> format_difference(-0.0125, "share"), format_difference(3.14159, "EUR")
    ('-1.25', '+3.142')
    """
    return f"{100 * value:+.2f}" if unit == "share" else f"{value:+.4g}"


def difference_unit(unit: str) -> str:
    """Returns the word or words after a difference.

    >>> difference_unit("share"), difference_unit("EUR"), difference_unit("")
    (' points', ' EUR', '')
    """
    return " points" if unit == "share" else f" {unit}" if unit else ""
