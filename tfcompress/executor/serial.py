"""Steps one after the other, in this process."""

from tfcompress.executor.schedule import Schedule


class SerialExecutor:
    """Does steps in this process: as fast as one machine can do one row."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def run(self, steps, on_done=lambda step: None):
        """Does the steps that are not done.

        Args:
            steps: list of `Step`.
            on_done: called with each step that was done.
        Raises:
            TfcompressError: what a step raises. What is done is done.
        """
        schedule = Schedule(steps)
        while (step := schedule.begin()) is not None:
            step.run()
            schedule.end(step)
            on_done(step)
