"""What becomes of a worker that answers, fails, or takes more than it may."""

import pytest

from tfcompress.evaluate import call_worker

GIGABYTE = 1e9
MEASURES = """
from tfcompress.evaluate import answer_call
answer_call(lambda request: {"double": 2 * request["number"]})
"""
REFUSES = """
from tfcompress.errors import InvalidValueError
from tfcompress.evaluate import answer_call
def measure(request):
    raise InvalidValueError("No such number.")
answer_call(measure)
"""
HAS_TOO_LITTLE = """
from tfcompress.evaluate import answer_call
def measure(request):
    raise MemoryError("no\\nroom")
answer_call(measure)
"""
EATS = """
kept = []
while True:
    kept.append(bytearray(10_000_000))
"""
SLEEPS = "import time; time.sleep(3600)"
FAILS = "print('so far'); raise ValueError('no such luck')"


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Function: runs a worker's source; further arguments as of `call_worker`."""

    def run_source(source, *, timeout_seconds=600, **limits):
        (tmp_path / "example_worker.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        return call_worker(
            "example_worker",
            {"number": 21},
            name="The example",
            num_threads=1,
            timeout_seconds=timeout_seconds,
            log_path=tmp_path / "log.txt",
            **limits,
        )

    return run_source


@pytest.mark.parametrize("memory_limit", [None, 2 * GIGABYTE])
def test_worker_that_answers_gives_its_values(call, memory_limit):
    result = call(MEASURES, memory_limit=memory_limit)
    assert result.values == {"double": 42}
    assert (result.error, result.failure) == (None, None)
    assert result.seconds > 0


@pytest.mark.parametrize(
    ("source", "limits", "failure", "error"),
    [
        (REFUSES, {}, "failed", "No such number."),
        (HAS_TOO_LITTLE, {}, "out of memory", "no room"),
        (
            FAILS,
            {},
            "failed",
            "The example failed with exit status 1: ValueError: no such luck",
        ),
        (
            EATS,
            {"memory_limit": 0.2 * GIGABYTE},
            "out of memory",
            "The example took more than 0.2 GB and was stopped.",
        ),
        (
            SLEEPS,
            {"memory_limit": GIGABYTE, "timeout_seconds": 0.5},
            "too slow",
            "The example took longer than 0.5 s and was stopped.",
        ),
        (
            SLEEPS,
            {"timeout_seconds": 0.5},
            "too slow",
            "The example took longer than 0.5 s and was stopped.",
        ),
    ],
)
def test_worker_that_does_not_is_a_result(call, source, limits, failure, error):
    result = call(source, **limits)
    assert result.values is None
    assert (result.failure, result.error) == (failure, error)


def test_what_a_worker_prints_goes_to_the_log(call, tmp_path):
    call(FAILS)
    log = (tmp_path / "log.txt").read_text()
    assert log.startswith("--- The example\nso far\nTraceback")
