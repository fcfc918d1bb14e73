"""Steps in several processes of this machine."""

import select

from tfcompress.executor.call import check_answer, make_call
from tfcompress.executor.child import WorkerChild
from tfcompress.executor.schedule import Schedule


class ProcessExecutor:
    """Does steps in child processes, which live until this object is left.

    A child that ends under its step costs that step's work: another takes it.

    Args:
        num_workers: most children at a time.
        output_path: file that all that they print is appended to.
    """

    def __init__(self, num_workers, output_path):
        self._num_workers = num_workers
        self._output_path = output_path
        self._idle, self._busy = [], {}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for child in self._idle:
            child.close()
        self._idle.clear()

    @property
    def process_ids(self):
        """Numbers of the children."""
        return [child.process.pid for child in [*self._idle, *self._busy]]

    def run(self, steps, on_done=lambda step: None):
        """Does the steps that are not done; arguments and errors as `SerialExecutor`'s.

        Raises:
            StepError: if a step's process has ended too often.
        """
        schedule = Schedule(steps)
        try:
            while not schedule.is_finished:
                self._begin(schedule)
                for child in select.select(list(self._busy), [], [])[0]:
                    self._end(child, schedule, on_done)
        finally:  # of what is at work when a step raises, nobody would hear
            for child in self._busy:
                child.close()
            self._busy.clear()

    def _begin(self, schedule):
        """Lets children begin steps as long as there are both."""
        while len(self._busy) < self._num_workers:
            step = schedule.begin()
            if step is None:
                return
            if not self._idle:
                self._idle.append(WorkerChild())
            child = self._idle.pop()
            child.send_call(make_call(step))
            self._busy[child] = step

    def _end(self, child, schedule, on_done):
        """Takes what has become of a child's step."""
        step = self._busy.pop(child)
        answer, death = child.receive_answer(self._output_path)
        if child.is_running:
            self._idle.append(child)
        if answer is not None:
            check_answer(step, answer)
        if schedule.end(step, death):
            on_done(step)
