"""The task of compressing a user's own model: its file, its data, its fine-tuning."""

import dataclasses
import functools
import math

from tfcompress.bridge.graphs import functional_graph, is_automatic
from tfcompress.data.tokenizing import tokenize
from tfcompress.errors import InvalidValueError, UnsupportedModelError
from tfcompress.tasks import arrange_outputs
from tfcompress.training import ArrayTraining, task_of

TEXT, _TOKENS, _MASK = "text", "tokens", "padding_mask"
_TEXT_INPUTS = ("tokens", "token_ids", "padding_mask", "segment_ids")
_STEP_SECONDS, _TARGET_SECONDS = 0.1, 20


class OwnModelTask:
    """A model that exists already, and a dataset to fine-tune it on and to score it.

    Args:
        model: Keras 3 model, a copy that may be changed; see `prepare_model`.
        dataset: `Dataset` of texts, or of arrays by the names of the model's inputs.
        config: `TrainingConfig` of the fine-tuning.
        tokenizer: `tokenizers.Tokenizer` where the dataset holds texts.
        task: `Task` of the model's outputs; `None` stands for the classes of the
            dataset.

    Attributes: as of `EmbeddingTask`.

    Raises:
        UnsupportedModelError: if the model's outputs do not fit the task.
        InvalidValueError: if the dataset lacks a target of the task.
    """

    preset = None
    target_seconds = _TARGET_SECONDS
    timing_seconds = 3

    def __init__(self, model, dataset, config, tokenizer=None, *, task=None):
        self.task = task_of(dataset) if task is None else task
        self.task.check_model(model, dataset.train)
        self.texts = dataset
        self.tokenizer = tokenizer
        self.model_name = model.name
        self._model = model
        self._config = config
        self._dtypes = {tensor.name: tensor.dtype for tensor in model.inputs}

    @functools.cached_property
    def dataset(self):
        """The dataset with tokens in place of texts; of arrays, as it was given."""
        if self.tokenizer is None:
            return self.texts
        length = self.tokenizer.truncation["max_length"]
        return self.texts.map_inputs(
            lambda inputs: tokenize(
                self.tokenizer, inputs[TEXT], self._dtypes, length=length
            )
        )

    def build_model(self):
        """Returns the model as the file has it."""
        return self._model

    def seconds(self, row):
        """Returns the rough seconds that a row's model takes, for the time left."""
        if not row.trains:
            return _TARGET_SECONDS
        steps = math.ceil(self.texts.train.num_examples / self._config.batch_size)
        return steps * self._config.epochs * _STEP_SECONDS

    def training(self, row, on_progress=None, checkpoint_folder=None):
        """Returns the `Training` of a row; arguments as of `EmbeddingTask`."""
        return ArrayTraining(
            self.dataset,
            dataclasses.replace(self._config, **row.finetuning),
            task=self.task,
            on_progress=on_progress,
            checkpoint_folder=checkpoint_folder,
        )


def has_mask(model):
    """Whether a model tells padding from text, so that batches can be trimmed."""
    return _MASK in [tensor.name for tensor in model.inputs]


def prepare_model(model, dataset, task=None):
    """Makes a model fit for artifacts: its inputs have the names of what it is given.

    Args:
        model: functional or Sequential Keras 3 model.
        dataset: `Dataset` of texts or of arrays.
        task: `Task` of its outputs; `None` stands for the classes of the dataset.
    Returns:
        A Keras 3 model of the same layers. Its one input is called `"tokens"` where
        the dataset holds texts and the model's input has another name, and like the
        array where it has none of its own and the dataset holds one array.
    Raises:
        InvalidValueError: if the dataset lacks an input of the model.
        UnsupportedModelError: if the outputs do not fit the task, or the model is
            neither functional nor Sequential.
    """
    if not getattr(model, "inputs", None):
        raise UnsupportedModelError(
            f"Model {model.name!r} is subclassed or not built: build it with "
            "keras.Model(inputs, outputs), or give a Sequential a keras.Input, and "
            "save it again."
        )
    task = task_of(dataset) if task is None else task
    task.check_model(model, dataset.train)
    is_text = TEXT in dataset.train.inputs
    names = [tensor.name for tensor in model.inputs]
    if is_text and len(names) == 1 and names[0] not in _TEXT_INPUTS:
        return _with_tokens(model)
    given = _TEXT_INPUTS if is_text else tuple(dataset.train.inputs)
    if len(names) == len(given) == 1 and is_automatic(names[0]):
        return _with_input_name(model, given[0])
    for name in names:
        if name not in given:
            raise InvalidValueError(
                f"Model {model.name!r} takes the input {name!r}, and the data gives "
                f"{', '.join(given)}. Name the arrays as the inputs are named."
            )
    return model


def _with_input_name(model, name):
    """Returns a model of the same layers whose one input has a name that stays."""
    import keras

    graph = functional_graph(model, model.name)
    (old,) = graph.inputs
    new = keras.Input(
        old.shape[1:], batch_size=old.shape[0], dtype=old.dtype, name=name
    )
    copy = keras.models.clone_model(
        keras.Model(graph.inputs, graph.outputs),
        input_tensors=[new],
        clone_function=lambda layer: layer,
    )
    # A plain model: one of a class of its own would be built anew when it is loaded.
    return keras.Model(new, arrange_outputs(copy, copy.outputs), name=model.name)


def _with_tokens(model):
    import keras

    (old,) = model.inputs
    tokens = keras.Input(old.shape[1:], dtype="int32", name=_TOKENS)
    return keras.Model(tokens, model(tokens), name=f"{model.name}_of_tokens")
