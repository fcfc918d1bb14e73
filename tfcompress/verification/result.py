"""What became of the check of a written file."""

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """The check of a written file, for results and records.

    Attributes:
        status: "passed" or "skipped". A file that fails leaves no result.
        against: "keras" (the Keras model in this process) or "file" (the source file).
        error: largest error of an output: the root mean square of the differences,
            relative to that of the source's output; of whole numbers the share that
            differs. None where no output could be compared.
        bound: the largest error that the precision allows.
        num_examples: examples that both ran; their inputs are random, or those of the
            calibration.
        reason: why it was skipped, or why no output was compared; else None.
        seconds: time that the check took.
    """

    status: str
    against: str | None = None
    error: float | None = None
    bound: float | None = None
    num_examples: int | None = None
    reason: str | None = None
    seconds: float | None = None

    def to_json(self):
        """Returns the fields as a dict of JSON values."""
        return dataclasses.asdict(self)

    def without_time(self):
        """Returns `to_json` of what is the same whenever the same file is checked.

        The error is rounded: a runtime adds up in another order at times.
        """
        error = None if self.error is None else float(f"{self.error:.1e}")
        fields = dataclasses.replace(self, error=error).to_json()
        del fields["seconds"]
        return fields


SKIPPED = Verification(status="skipped", reason="verify=False was asked for")
"""The result of a file that was written without a check."""
