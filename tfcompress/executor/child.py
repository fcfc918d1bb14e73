"""A process of this machine that does steps, one after the other."""

import json
import pathlib

from tfcompress.atomic import write_json
from tfcompress.processes import KeptChild, describe_end, inherited_environment

_MODULE = "tfcompress.executor.worker"


class WorkerChild:
    """A `KeptChild` that is sent calls and gives answers.

    Args:
        folder: where the calls and the answers pass through.
        output_path: file that all that it prints is appended to, step by step.
        variables: name -> value of its environment's variables that are not this
            process's; None for one that is not to be set.
    """

    def __init__(self, folder, output_path, variables=None):
        environment = inherited_environment()
        for name, value in (variables or {}).items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        self._child = KeptChild(_MODULE, environment)
        self._call = pathlib.Path(folder, f"{self.process.pid}.call.json")
        self._answer = pathlib.Path(folder, f"{self.process.pid}.answer.json")
        self._output_path = output_path

    @property
    def process(self):
        """The `subprocess.Popen`."""
        return self._child.process

    @property
    def is_running(self):
        """Whether it has not ended, as far as `receive` has seen."""
        return self._child.is_running

    def fileno(self):
        """Returns a descriptor that can be read once an answer is there."""
        return self._child.fileno()

    def send(self, call):
        """Sends a call, a JSON value."""
        self._answer.unlink(missing_ok=True)
        write_json(self._call, call)
        self._child.send([str(self._call), str(self._answer)])

    def receive(self):
        """Returns `(answer, death)`, one of which is None, once it can be read.

        The death is the end of a sentence, see `describe_end`.
        """
        status = self._child.receive(self._output_path)
        try:
            return json.loads(self._answer.read_text(encoding="utf-8")), None
        except FileNotFoundError:
            return None, describe_end(status, "see the log", None)

    def close(self):
        """Ends the process."""
        self._child.close()
