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

    def data(self, dataset, names):
        """Returns the `CalibrationData` of a dataset, examples of its training split.

        Args:
            dataset: `Dataset` with an input for each of `names`, and maybe more.
            names: of the file's inputs.
        """
        train = dataset.train
        generator = np.random.default_rng(self.seed)
        count = min(self.num_examples, train.num_examples)
        chosen = generator.choice(train.num_examples, count, replace=False)
        return CalibrationData(
            inputs={name: train.inputs[name][np.sort(chosen)] for name in names},
            range_estimator=self.range_estimator,
        )
