"""A process of this machine that does steps, one after the other."""

import json

from tfcompress.processes import KeptChild, describe_end, inherited_environment

_MODULE = "tfcompress.executor.worker"


class WorkerChild(KeptChild):
    """A child that is sent calls and gives answers.

    Args:
        variables: name -> value of its environment's variables that are not this
            process's; None for one that is not to be set.
    """

    def __init__(self, variables=None):
        environment = inherited_environment()
        for name, value in (variables or {}).items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        super().__init__(_MODULE, environment)

    def send_call(self, call):
        """Sends a call, a JSON value."""
        self.send([json.dumps(call)])

    def receive_answer(self, output_path):
        """Waits for the end of the call.

        Args:
            output_path: file that all that the step printed is appended to.
        Returns:
            `(answer, death)`, one of which is None. The death is the end of a sentence,
            see `describe_end`.
        """
        status, answer = self.receive(output_path)
        if answer is None:
            return None, describe_end(status, "the log says more", None)
        return json.loads(answer), None
