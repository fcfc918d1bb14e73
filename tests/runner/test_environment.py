"""Tests of what is noted of the machine and the code."""

import datetime

from tfcompress.record import new_record
from tfcompress.runner.environment import code_fingerprint, describe_environment


def test_environment_fits_the_record():
    environment = new_record(environment=describe_environment())["environment"]
    assert environment["num_cores"] >= 1
    assert environment["versions"]["numpy"]
    assert datetime.datetime.fromisoformat(environment["started_at"]).tzinfo


def test_code_fingerprint_is_stable():
    assert code_fingerprint() == code_fingerprint()
    assert len(code_fingerprint()) == 16
