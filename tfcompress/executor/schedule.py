"""What of a list of steps can begin, and what becomes of those that have begun."""

from tfcompress.errors import StepError
from tfcompress.executor.step import needed_steps

# So often the process of one step may end under it. A kill from outside hits any step;
# one that kills its own process would do so for ever.
MAX_DEATHS = 3


class Schedule:
    """Steps in the order in which they can be done.

    Files alone say what is done, however a process that was to write them has ended.

    Args:
        steps: list of `Step`; those that are done already are left out.
        max_deaths: so often the process of a step may end under it.
    Raises:
        InvalidValueError: if they cannot be put into an order.
    """

    def __init__(self, steps, max_deaths=MAX_DEATHS):
        self._needed = needed_steps(steps)
        self._waiting = [step for step in steps if not step.is_done()]
        self._running = {}
        self._deaths = {}
        self._max_deaths = max_deaths

    @property
    def is_finished(self):
        """Whether all steps are done."""
        return not self._waiting and not self._running

    def begin(self):
        """Returns the next step that can begin now, or None; it counts as begun."""
        if any(step.is_exclusive for step in self._running.values()):
            return None
        undone = {step.name for step in self._waiting} | set(self._running)
        for step in self._waiting:
            if self._needed[step.name] & undone:
                continue
            if step.is_exclusive and self._running:
                continue
            self._waiting.remove(step)
            self._running[step.name] = step
            return step
        return None

    def end(self, step, death=None):
        """Takes note of the end of a step.

        Args:
            step: `Step` that `begin` returned.
            death: how the process ended that did it, where it did not survive: the end
                of a sentence; else None.
        Returns:
            Whether the step is done; if not, it waits to begin again.
        Raises:
            StepError: if it has not done what it should, or its process has ended too
                often.
        """
        del self._running[step.name]
        missing = step.missing_outputs()
        if not missing:
            return True
        if death is None:
            raise StepError(
                f"The step {step.name!r} ended, and {missing[0]} is not there. Workers "
                "on other machines must share the run's folder."
            )
        self._deaths[step.name] = self._deaths.get(step.name, 0) + 1
        if self._deaths[step.name] >= self._max_deaths:
            raise StepError(
                f"The step {step.name!r} was begun {self._max_deaths} times; each time "
                f"its process ended, the last time so: it {death}"
            )
        self._waiting.insert(0, step)
        return False
