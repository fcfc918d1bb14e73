"""A benchmark of files alone: of one model, without data to learn from or to score on.

The examples are made up, and what the Keras model puts out for them is the truth: the
score of a file is how far it is from Keras.
"""

import dataclasses

from tfcompress.data.dataset import Dataset, Split
from tfcompress.runner.experiment import Experiment
from tfcompress.runner.own_model import OwnModelTask
from tfcompress.tasks import RootMeanSquaredError, regression
from tfcompress.training import TrainingConfig

_TARGET = "values"


def file_benchmark(name, rows, make_model, make_inputs):
    """Returns the `Experiment` that makes files of a model and times them.

    Args:
        name: of the benchmark.
        rows: tuple of `Row` that are not trained; the first has the model as it is.
        make_model: function without arguments that returns the Keras 3 model, of one
            output.
        make_inputs: function of that model that returns a dict of input name -> array,
            the examples leading.
    """
    models = []

    def load_dataset():
        models.append(make_model())
        inputs = make_inputs(models[0])
        outputs = models[0].predict_on_batch(inputs)
        split = Split(inputs, {_TARGET: outputs})
        found = Dataset.from_splits(split, split, split, name="random inputs")
        return dataclasses.replace(found, source="synthetic")

    def make_task(dataset):
        task = regression(name=_TARGET, metrics=(RootMeanSquaredError(),))
        return OwnModelTask(models[0], dataset, TrainingConfig(epochs=1), task=task)

    return Experiment(
        name=name,
        default_dataset="random inputs",
        rows=rows,
        make_task=make_task,
        load_dataset=load_dataset,
    )
