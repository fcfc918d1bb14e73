"""Tests of what is noted of the machine and the code."""

import datetime
import os

import numpy as np

from tfcompress.record import new_record
from tfcompress.runner.environment import describe_environment


def test_environment_fits_the_record():
    found = new_record(environment=describe_environment())["environment"]
    assert found["num_cores"] == len(os.sched_getaffinity(0))
    assert found["versions"]["numpy"] == np.__version__
    started = datetime.datetime.fromisoformat(found["started_at"])
    assert started.utcoffset() == datetime.timedelta(0)
