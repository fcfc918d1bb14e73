"""Rows that workers make: the run is that of one process, to the bit."""

from experiments.check_kills import differences


def test_two_processes_make_the_run_of_one(short_run, run, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    for folder, more in ((alone, ()), (together, ("--workers=2",))):
        status, out, err = run(*short_run, f"--run_dir={folder}", *more)
        assert (status, err) == (0, ""), out
    assert differences(alone, together) == []
    assert "2/2  compressed" in out
    # The same command has nothing left to do, whoever made the rows.
    status, out, _ = run(*short_run, f"--run_dir={together}")
    assert status == 0 and "The run is finished" in out


def test_worker_in_a_folder_without_a_run_is_refused(short_run, run, tmp_path):
    status, _, err = run(*short_run, f"--run_dir={tmp_path}", "--only=row:original")
    assert status == 1 and not list(tmp_path.iterdir())
    assert "holds no run of these flags and data: a worker takes part in a run" in err
    status, _, err = run(*short_run, "--only=timing")
    assert (status, err) == (1, "error: --only needs the --run_dir of the run.\n")
