"""Prepared TFDS datasets in a folder, and what happens where there are none."""

import contextlib
import http.server
import os
import socket
import threading

import pytest
import tensorflow_datasets as tfds

from tfcompress.data.catalog import load_from_catalog
from tfcompress.data.dataset import SplitOptions
from tfcompress.errors import DataError

TEXTS = [f"text {index} é" for index in range(20)]


def prepare(folder, name="toy", **columns):
    """Writes a prepared dataset of 20 training and 4 test examples, two classes."""
    columns = columns or {"text": TEXTS}
    features = {key: tfds.features.Text() for key in columns}
    features["label"] = tfds.features.ClassLabel(names=["no", "yes"])

    def rows(count):
        for index in range(count):
            row = {key: values[index] for key, values in columns.items()}
            yield index, row | {"label": index % 2}

    tfds.disable_progress_bar()
    tfds.dataset_builders.store_as_tfds_dataset(
        name=name,
        version="1.0.0",
        data_dir=folder,
        features=tfds.features.FeaturesDict(features),
        split_datasets={"train": rows(20), "test": rows(4)},
        disable_shuffling=True,
    )
    return folder


@pytest.fixture(autouse=True)
def no_data(tmp_path, monkeypatch):
    """Takes away the machine's own data, and the way out."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    use_proxy(monkeypatch, 9)  # nobody listens there


def use_proxy(monkeypatch, port):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")


def load(name="toy", columns=(None, None), data_dir=None, **options):
    return load_from_catalog(
        name, SplitOptions(**options), data_dir=data_dir, columns=columns
    )


def test_load_prepared_gives_its_splits(tmp_path, capfd):
    prepare(tmp_path / "data")
    capfd.readouterr()
    dataset = load(data_dir=tmp_path / "data")
    assert dataset.source == "tfds"
    assert dataset.class_names == ("no", "yes")
    assert dataset.train.num_examples + dataset.validation.num_examples == 20
    assert dataset.validation.num_examples == 2
    assert dataset.test.inputs["text"].tolist() == TEXTS[:4]
    assert dataset.test.labels.tolist() == [0, 1, 0, 1]
    assert "%|" not in "".join(capfd.readouterr())  # no progress bar


def test_load_places_are_looked_into_in_order(tmp_path, monkeypatch):
    first = [f"first {index}" for index in range(20)]
    prepare(tmp_path / "home" / "tensorflow_datasets")
    assert load().test.inputs["text"][0] == TEXTS[0]
    prepare(tmp_path / "named", text=first)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "named"))
    assert load().test.inputs["text"][0] == "first 0"
    assert load(data_dir=tmp_path / "none").test.inputs["text"][0] == "first 0"
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert load(data_dir=tmp_path / "named").test.inputs["text"][0] == "first 0"


def test_load_ag_news_joins_title_and_description(tmp_path):
    prepare(tmp_path, "ag_news_subset", title=TEXTS, description=["more"] * 20)
    dataset = load("ag_news_subset", data_dir=tmp_path)
    assert dataset.test.inputs["text"][1] == "text 1 é more"


def test_load_several_texts_takes_the_one_called_text(tmp_path):
    prepare(tmp_path, id=["number"] * 20, text=TEXTS)
    assert load(data_dir=tmp_path).test.inputs["text"][0] == TEXTS[0]


def test_load_named_feature_is_taken(tmp_path):
    prepare(tmp_path, question=TEXTS, answer=["answer"] * 20)
    dataset = load(data_dir=tmp_path, columns=("answer", "label"))
    assert dataset.test.inputs["text"][0] == "answer"


def test_load_several_texts_without_choice_raises(tmp_path):
    prepare(tmp_path, question=TEXTS, answer=["answer"] * 20)
    with pytest.raises(DataError, match="Choose text_column among answer, question"):
        load(data_dir=tmp_path)


def test_load_unknown_label_feature_raises(tmp_path):
    prepare(tmp_path)
    with pytest.raises(DataError, match="no feature 'stars' for its label. Choose lab"):
        load(data_dir=tmp_path, columns=(None, "stars"))


def test_load_truncated_copy_raises(tmp_path):
    prepare(tmp_path)
    (record,) = tmp_path.glob("toy/1.0.0/toy-train.tfrecord*")
    record.write_bytes(record.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"prepared copy of dataset 'toy' .* damaged: "):
        load(data_dir=tmp_path)


def test_load_copy_without_its_records_raises(tmp_path):
    prepare(tmp_path)
    (record,) = tmp_path.glob("toy/1.0.0/toy-test.tfrecord*")
    record.unlink()
    with pytest.raises(DataError, match=r"prepared copy of dataset 'toy' .* damaged: "):
        load(data_dir=tmp_path)


def test_load_other_features_raises_before_any_download():
    with pytest.raises(
        DataError, match="'mnist' is no text .* features are image, label"
    ):
        load("mnist")


def test_load_misspelt_name_gives_the_closest():
    with pytest.raises(DataError, match="'imdb_reviws'. The closest names are imdb_re"):
        load("imdb_reviws")


def test_load_misspelt_configuration_gives_the_closest():
    with pytest.raises(DataError, match="'glue/sts2'. The closest .*glue/sst2"):
        load("glue/sts2")


@pytest.mark.parametrize("name", ["qqqqzzzz", "no name!"])
def test_load_name_close_to_none_raises(name):
    with pytest.raises(DataError, match=f"'{name}'. No name is close; a file ends in"):
        load(name)


def test_load_dataset_outside_the_catalog_gives_its_recipe():
    with pytest.raises(DataError, match=r"not in TFDS's catalog.*'train\.csv,test\.c"):
        load("tweet_sentiment_extraction")


def test_load_without_network_says_what_was_tried(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "variable"))
    with pytest.raises(DataError) as caught:
        load("imdb_reviews", data_dir=tmp_path / "flag")
    message = str(caught.value)
    for part in ("flag (data_dir)", "variable (TFDS_DATA_DIR)", "tensorflow_datasets"):
        assert part in message
    assert "ai.stanford.edu cannot be reached (ProxyError)" in message
    assert "tfds build imdb_reviews" in message
    assert "\n" not in message


@contextlib.contextmanager
def refusing_proxy():
    class Refuse(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(403)

        def log_message(self, *_):
            """Keeps the test's output clean."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_load_refused_download_says_the_status(monkeypatch):
    with refusing_proxy() as port:
        use_proxy(monkeypatch, port)
        with pytest.raises(DataError, match="edu answered with HTTP status 403"):
            load("imdb_reviews")


def test_load_network_that_does_not_answer_raises_by_its_time_limit(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        use_proxy(monkeypatch, silent.getsockname()[1])
        with pytest.raises(DataError, match="cannot be reached \\(ReadTimeout\\)"):
            load("imdb_reviews")


REAL_DATA = os.environ.get("TFDS_DATA_DIR")


@pytest.mark.skipif(not REAL_DATA, reason="TFDS_DATA_DIR names no prepared data")
def test_load_imdb_reviews_has_the_official_splits():
    dataset = load("imdb_reviews", data_dir=REAL_DATA)
    assert dataset.train.num_examples + dataset.validation.num_examples == 25_000
    assert dataset.test.num_examples == 25_000
    assert dataset.test.labels.mean() == 0.5
    assert dataset.class_names == ("neg", "pos")
