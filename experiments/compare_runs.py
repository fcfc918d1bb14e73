"""Judge the files of several runs together: tweets and news, or several seeds.

    make experiment NAME=compare_runs ARGS="runs/tweet_sentiment/latest-A \\
      runs/tweet_sentiment/latest-B"

Prints, as Markdown, how many points of accuracy each file is above the baseline and
above its control, on each run's test split and on all together, with the paired 95%
interval. The runs are of one experiment with the same rows.

Expected time: 1 s.
"""

import dataclasses
import pathlib

from tfcompress import entry_point
from tfcompress.errors import InvalidValueError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """The command has no flags."""


def main(settings, *folders):
    """Prints the table of the runs that the arguments name."""
    del settings  # there are none
    from tfcompress.report.pooled import pooled_table, read_run

    if len(folders) < 2:
        raise InvalidValueError(
            f"Name the folders of two runs or more, got {len(folders)}. --help says "
            "more."
        )
    print(pooled_table([read_run(pathlib.Path(folder)) for folder in folders]), end="")


if __name__ == "__main__":
    entry_point.run(main, Settings)
