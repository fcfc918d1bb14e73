"""The calibration data of an experiment: examples of its training split."""

import dataclasses

import numpy as np

from tfcompress.quantizers import CalibrationData


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """How the ranges of static files are found.

    Args:
        num_examples: most training examples to look at.
        range_estimator: of `CalibrationData`.
        seed: of the choice of examples.
    """

    num_examples: int = 300
    range_estimator: str = "min_max"
    seed: int = 0

    def data(self, dataset):
        """Returns the `CalibrationData` of a dataset, examples of its training split.

        Args:
            dataset: `Dataset` whose inputs are those of the model.
        """
        train = dataset.train
        generator = np.random.default_rng(self.seed)
        count = min(self.num_examples, train.num_examples)
        chosen = generator.choice(train.num_examples, count, replace=False)
        return CalibrationData(
            inputs=dict(train.select(np.sort(chosen)).inputs),
            range_estimator=self.range_estimator,
        )
