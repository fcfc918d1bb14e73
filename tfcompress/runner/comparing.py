"""How much the files of a run differ from the baseline and from their controls."""

import dataclasses

from tfcompress.report.scores import read_scores


class Comparer:
    """Compares scored files on the examples of the test split, in pairs.

    Args:
        rows: the experiment's rows, the baseline first.
        metrics: name -> `Metric`; the primary one among them.
        folder: open `RunFolder`.
        records: key -> record.
    """

    def __init__(self, rows, metrics, folder, records):
        self._rows = {row.name: row for row in rows}
        self._baseline = rows[0]
        self._metrics = metrics
        self._folder = folder
        self._records = records
        self._scores = {}

    def comparisons(self, row, key):
        """Returns `comparisons` of a record: with the Keras models, metric by metric.

        Args:
            row: `Row`.
            key: of one of its files, which is scored.
        Returns:
            List of `{against, metric, difference, low, high}`: the file minus what it
            is compared with, the baseline and the row's control, as far as those are
            scored.
        """
        references = [self._baseline]
        if row.control is not None:
            references.append(self._rows[row.control])
        found = []
        for reference in dict.fromkeys(
            each.targets[0].key(each.name) for each in references
        ):
            if reference == key or not self._is_scored(reference):
                continue
            ours, theirs = self._scores_of(key), self._scores_of(reference)
            for name, metric in self._metrics.items():
                estimate = metric.paired(ours[name], theirs[name])
                values = dataclasses.asdict(estimate)
                values["difference"] = values.pop("value")
                found.append({"against": reference, "metric": name, **values})
        return found

    def _is_scored(self, key):
        return key in self._records and self._records[key]["status"] == "ok"

    def _scores_of(self, key):
        if key not in self._scores:
            self._scores[key] = read_scores(self._folder.path, key, self._records[key])
        return self._scores[key]
