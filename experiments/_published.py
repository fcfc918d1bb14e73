"""The published figures of an experiment, beside its own."""

import pathlib

from tfcompress.report.published import published_table, read_published


def published_appendix(dataset, matches):
    """Returns the function of an `Experiment` that adds the published figures.

    Args:
        dataset: name of the dataset that they are of; runs on others get no table.
        matches: sequence of `Match`.
    """

    def appendix(records):
        if records[0]["dataset"]["name"] != dataset:
            return ""
        path = pathlib.Path(__file__).with_name("published.csv")
        return published_table(records, read_published(path), matches)

    return appendix
