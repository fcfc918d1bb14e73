"""The function that is a Ray task: it has a step done by a process of its own.

Ray's process stays free of TensorFlow, and the step's of Ray and of the variables that
Ray sets. Like every task of one worker it uses the same child, which has open what the
step before has opened.
"""

import json

from tfcompress.executor.child import WorkerChild

_child = None  # it ends with this process


def do_step(text):
    """Does the step of a call.

    Args:
        text: JSON of `call`, as of `make_call`, the `output_path` of what the step
            prints and the `variables` of its environment.
    Returns:
        JSON of `answer` and `death`, one of which is None, as of
        `WorkerChild.receive_answer`.
    """
    global _child
    task = json.loads(text)
    if _child is None or not _child.is_running:
        _child = WorkerChild(task["variables"])
    _child.send_call(task["call"])
    answer, death = _child.receive_answer(task["output_path"])
    return json.dumps({"answer": answer, "death": death})
