"""Fine-tune a BERT classifier and ship it as TFLite, ONNX and OpenVINO.

    make experiment NAME=bert_baseline
    make experiment NAME=bert_baseline ARGS="--preset=hf://USER/MODEL"
    make experiment NAME=bert_baseline ARGS="--preset=FOLDER --dataset=ag_news_subset"

The preset's encoder gets a classification head and is fine-tuned (the row `baseline`):
AdamW, warm-up and linear decay, batches bucketed by length. It is shipped in float32,
in float16 and, where the processor has it, in bfloat16; each file is scored on the
whole test split and timed beside the others and beside TensorFlow, at `--max_length`.

Without `--preset` the encoder is a small random one with a vocabulary of the training
texts, so that the way can be walked without a network; it learns little from few texts.

Expected with MiniLM (22.7 M weights): an accuracy of 0.79 on tweet_sentiment_extraction
and 0.91 on ag_news_subset. On 2 cores the timing takes 5 minutes with --rounds=3; most
of the rest is training, an epoch of 773 and of 796 steps.
"""

import dataclasses

from tfcompress import entry_point
from tfcompress.formats import FORMATS
from tfcompress.formats.target import Target
from tfcompress.runner.experiment import Experiment, run_experiment
from tfcompress.runner.rows import Row
from tfcompress.runner.settings import BertSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(BertSettings):
    """What the experiment's flags say."""


# Beside float32, where the format has it; what the processor lacks is left out.
_PRECISIONS = ("float16", "bfloat16")


def make_rows(formats):
    """Returns the experiment's one row.

    Args:
        formats: names of the formats to ship, besides the Keras model.
    """
    targets = [Target(format="keras")]
    for format in formats:
        targets.append(Target(format=format))
        targets += [
            Target(format=format, precision=precision)
            for precision in _PRECISIONS
            if precision in FORMATS[format].exporter.precisions
            and (precision != "bfloat16" or _has_bfloat16())
        ]
    return (Row(name="baseline", is_timed=True, targets=tuple(targets)),)


def main(settings):
    """Runs the experiment; returns the exit status."""
    return run_experiment(
        Experiment(
            name="bert_baseline",
            default_dataset="tweet_sentiment_extraction",
            rows=make_rows(settings.formats),
            make_task=settings.make_bert_task,
        ),
        settings,
        settings.training(),
    )


def _has_bfloat16():
    from tfcompress.runtime.openvino import has_bfloat16

    return has_bfloat16()


if __name__ == "__main__":
    entry_point.run(main, Settings)
