"""Test of the benchmark of engines, on a small file."""

from tfcompress.record import read_records

NAME = "benchmark_engines"


def test_every_engine_is_scored_and_timed(run, reviews, tmp_path):
    folder = tmp_path / "run"
    status, out, err = run(
        NAME, *reviews, "--formats=tflite", "--rounds=0", f"--run_dir={folder}"
    )
    assert status == 0, err
    records = {
        record["row"]: record for record in read_records(folder / "records").values()
    }
    engines = {
        f"{method}_{engine}"
        for method in ("prune", "cluster", "qat")
        for engine in ("tfcompress", "tfmot")
    }
    assert records.keys() == {"baseline", "baseline_finetuned", *engines}
    for row in engines:
        assert f"{row} trains an epoch in" in " ".join(out.split())
        of_engine = {
            layer["requested"].get("engine") for layer in records[row]["layers"]
        }
        assert ("tfmot" in of_engine) == row.endswith("tfmot")
    skipped = {
        layer["name"]
        for layer in records["qat_tfmot"]["layers"]
        if layer["status"] == "skipped"
    }
    assert skipped == {"embedding"}
