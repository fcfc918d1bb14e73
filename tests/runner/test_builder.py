"""The builder with parts of its own: no Keras, real small files, real workers."""

import contextlib
import shutil
import types

import numpy as np
import pytest

from tfcompress.data.dataset import Split
from tfcompress.errors import ModelFileError
from tfcompress.evaluate import write_examples
from tfcompress.formats.target import Target
from tfcompress.runner.building import Builder
from tfcompress.runner.rows import Row
from tfcompress.runner.run_folder import RunFolder
from tfcompress.runner.scoring import Scorer, examples_path
from tfcompress.runner.store import RunStore
from tfcompress.tasks import classification

REFERENCE, OTHER = Target(format="onnx"), Target(format="openvino")
FILES = (REFERENCE, OTHER)
ROWS = (
    Row(name="baseline", targets=FILES),
    Row(name="small", parent="baseline", trains=False, targets=FILES),
)
SPLIT = Split(
    {"tokens": np.int32([[4] * 4, [2, 2, 0, 0], [3] * 4, [7] * 4])}, [1, 0, 0, 1]
)
TASK = classification(["negative", "positive"])
OPTIONS = types.SimpleNamespace(full_coded_quality=False, num_threads=1)


class Models:
    """Models that are made by name; each has one layer that nothing was done to."""

    def __init__(self):
        self.made = []

    def is_made(self, name):
        return name in self.made

    def make(self, name, on_progress):
        on_progress(1.0, "made")
        self.made.append(name)

    def get(self, name):
        raise AssertionError("the files are there already")

    structures = weights = get

    def notes(self, name):
        assert name in self.made
        training = {"epochs": 2} if name == "baseline" else {}
        return {"training": training, "layers": [], "warnings": []}


class Maker:
    """Gives files that are there already; of some keys none can be made."""

    verification_seconds = 0.0

    def __init__(self):
        self.broken = set()
        self.store = None

    def make(self, row, target, model, structures):
        if target.key(row.name) in self.broken:
            raise ModelFileError("It cannot be written.")
        return self.store.artifact(target.key(row.name))

    def dense_of(self, row, target):
        return self.store.artifact(target.key(row.name))

    plain_of = dense_of


class Steps:
    """Takes the place of `Progress`."""

    def __init__(self):
        self.told = []

    @contextlib.contextmanager
    def step(self, description):
        yield lambda fraction, message: None
        self.told.append(description)


@pytest.fixture
def parts(tmp_path, tiny_artifact):
    """Namespace of the parts, and `build()`, which gives the steps that were told."""
    with RunFolder(tmp_path / "run") as folder:
        for target in FILES:
            made = tiny_artifact(target.format, is_text=False).folder
            for row in ROWS:
                shutil.copytree(made, folder.artifacts / target.key(row.name))
        write_examples(examples_path(folder, SPLIT, "test"), SPLIT.inputs)
        found = types.SimpleNamespace(models=Models(), maker=Maker())

        def sections(target):
            names = ("format", "precision", "coding", "runtime", "device")
            asked = {name: str(getattr(target, name)) for name in names}
            return asked | {"model": {"name": "tiny"}}

        def build():
            found.store = found.maker.store = RunStore(folder)
            found.builder = Builder(
                ROWS,
                store=found.store,
                models=found.models,
                maker=found.maker,
                scorer=Scorer(SPLIT, TASK, folder, OPTIONS),
                task=TASK,
                sections=sections,
            )
            todo, progress = found.builder.todo(), Steps()
            for row in ROWS:
                found.builder.build_row(row, progress, todo)
            found.builder.compare()
            return progress.told

        found.build = build
        yield found


KEYS = {row.name: [target.key(row.name) for target in FILES] for row in ROWS}


def test_builder_makes_models_and_a_record_of_each_file(parts):
    assert parts.build() == [
        "baseline: training",
        "baseline: onnx float32 dense",
        "baseline: openvino float32 dense",
        "small: compressing",
        "small: onnx float32 dense",
        "small: openvino float32 dense",
    ]
    assert parts.builder.num_steps == 6
    records = parts.store.records
    assert list(records) == [*KEYS["baseline"], *KEYS["small"]]
    for record in records.values():
        assert record["status"] == "ok"
        assert record["quality"]["metrics"]["accuracy"]["value"] == 0.75
        assert record["size"]["compression_ratio"] == 1
        assert record["model"] == {"name": "tiny", "preset": None, "num_weights": 19}
    small = records[KEYS["small"][0]]
    assert (small["parent"], small["training"]["epochs"]) == ("baseline", None)
    assert records[KEYS["baseline"][0]]["training"]["epochs"] == 2
    compared = {each["against"] for each in small["comparisons"]}
    assert compared == {KEYS["baseline"][0]}

    # All of it is kept.
    assert parts.build() == []


def test_builder_file_that_fails_leaves_a_record_and_is_tried_again(parts):
    broken = KEYS["baseline"][1]
    parts.maker.broken.add(broken)
    parts.build()
    record = parts.store.records[broken]
    assert (record["status"], record["error"]) == ("failed", "It cannot be written.")
    other = parts.store.records[KEYS["small"][1]]
    assert other["status"] == "ok"
    assert other["size"]["compression_ratio"] is None

    parts.maker.broken.clear()
    assert parts.build() == ["baseline: openvino float32 dense"]
    assert parts.store.records[broken]["status"] == "ok"
    # What was made without it is compared with it now.
    assert parts.store.records[KEYS["small"][1]]["size"]["compression_ratio"] == 1


def test_builder_file_whose_record_is_lost_is_made_again(parts):
    parts.build()
    (parts.store.folder.records / f"{KEYS['small'][0]}.json").unlink()
    assert parts.build() == ["small: onnx float32 dense"]
