"""A worker: does the step of the call in its argument, JSON, and answers.

It runs as a `tfcompress.processes.KeptChild`: what a step has opened stays open for the
next one.
"""

import json
import sys

from tfcompress.executor.call import answer_call
from tfcompress.processes import answer_parent

if __name__ == "__main__":
    answer_parent(json.dumps(answer_call(json.loads(sys.argv[1]))))
