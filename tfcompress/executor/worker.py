"""A worker: does the step of the call in a file, `CALL ANSWER` in its arguments.

It runs as a `tfcompress.processes.KeptChild`: what a step has opened stays open for the
next one.
"""

import json
import pathlib
import sys

from tfcompress.atomic import write_json
from tfcompress.executor.call import answer_call

if __name__ == "__main__":
    call_path, answer_path = map(pathlib.Path, sys.argv[1:])
    write_json(answer_path, answer_call(json.loads(call_path.read_text("utf-8"))))
