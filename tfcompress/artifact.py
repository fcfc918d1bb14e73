"""An artifact: a folder with all that is needed to deploy a model, and nothing else.

It holds the model's file(s), `tokenizer.json` where the input is text, and
`manifest.json`. It can be verified, opened on its runtime and asked to predict; what it
was made from is not needed, and no TensorFlow, unless the model is a Keras file.

    artifact = Artifact.load("artifacts/clustered")
    artifact.predict(["a lovely film"]).labels
"""

import dataclasses
import hashlib
import pathlib
import shutil
from collections.abc import Mapping

import numpy as np

from tfcompress.atomic import atomic_folder, write_json
from tfcompress.errors import ArtifactError, InvalidValueError, ModelFileError
from tfcompress.formats.onnx_wire import external_locations
from tfcompress.limits import read_json, shown
from tfcompress.manifest import MANIFEST_NAME, TOKENIZER_NAME, FileEntry, Manifest
from tfcompress.runtime import check_inputs, load_session

_BATCH_SIZE = 256  # examples that are run at once: bounds the memory, not the speed


def create_artifact(folder, *, model_files, manifest, tokenizer=None):
    """Makes an artifact: whole and under its name, or not at all.

    Args:
        folder: path of the folder to make; an existing one is replaced.
        model_files: paths of the files to copy in.
        manifest: a `Manifest`; its `files` are filled in here.
        tokenizer: `tokenizers.Tokenizer` where `manifest.is_text`, else None.
    Returns:
        The new `Artifact`.
    Raises:
        InvalidValueError: if there is a tokenizer where none belongs or the other way
            round, it cuts texts elsewhere than the manifest says, or two files have
            one name.
        ArtifactError: if an ONNX file reads one that is not among `model_files`.
        OSError: if a file cannot be read or the folder cannot be written.
    """
    if (tokenizer is not None) != manifest.is_text:
        raise InvalidValueError(
            "A tokenizer is for artifacts that take texts, and they need it; got "
            f"{type(tokenizer).__name__} with is_text={manifest.is_text!r}."
        )
    cut = tokenizer is not None and (tokenizer.truncation or {}).get("max_length")
    if manifest.is_text and cut != manifest.sequence_length:
        raise InvalidValueError(
            f"The tokenizer cuts a text at {cut!r} ids and the manifest's "
            f"sequence_length is {manifest.sequence_length!r}: make them equal."
        )
    sources = [pathlib.Path(path) for path in model_files]
    names = [path.name for path in sources]
    if len(set(names)) < len(names) or TOKENIZER_NAME in names:
        raise InvalidValueError(f"Two files of an artifact have one name: {names}.")
    with atomic_folder(folder) as new:
        for source in sources:
            shutil.copyfile(source, new / source.name)
            if manifest.format == "onnx" and source.suffix == ".onnx":
                _check_external_files(new / source.name, names)
        if tokenizer is not None:
            tokenizer.save(str(new / TOKENIZER_NAME))
        entries = {path.name: _describe(path) for path in sorted(new.iterdir())}
        manifest = dataclasses.replace(manifest, files=entries)
        write_json(new / MANIFEST_NAME, manifest.to_json())
    return Artifact(folder, manifest)


class Artifact:
    """A verified artifact. Made by `Artifact.load` or `create_artifact`.

    Attributes:
        folder: `pathlib.Path` of its folder.
        manifest: its `Manifest`.
        session: the open `Session`, else None.
    """

    def __init__(self, folder, manifest):
        self.folder = pathlib.Path(folder)
        self.manifest = manifest
        self.session = None
        self._tokenizer = None

    @classmethod
    def load(cls, folder):
        """Reads and verifies an artifact; files that its manifest lacks are ignored.

        Args:
            folder: path of the artifact's folder.
        Returns:
            An `Artifact`, not yet opened.
        Raises:
            ArtifactError: if the folder is no artifact, its manifest cannot be read or
                points outside the folder, a file is missing, of another size, or
                altered, or an ONNX file reads one that is not listed.
        """
        folder = pathlib.Path(folder)
        manifest = _read_manifest(folder)
        for name, entry in manifest.files.items():
            _verify(folder / name, entry)
            if manifest.format == "onnx" and name.endswith(".onnx"):
                _check_external_files(folder / name, manifest.files)
        if manifest.is_text and TOKENIZER_NAME not in manifest.files:
            raise ArtifactError(
                f"The artifact {str(folder)!r} takes texts and lists no "
                f"{TOKENIZER_NAME!r}; make it again."
            )
        return cls(folder, manifest)

    def open(self, *, num_threads=2, runtime=None, device="cpu"):
        """Loads the model on its runtime; an open session is replaced.

        Args:
            num_threads: threads of one run.
            runtime: name of another runtime of the format; None takes the manifest's.
            device: "cpu" or "gpu".
        Returns:
            The artifact itself, for `with artifact.open(): ...`.
        Raises:
            ArtifactError: if the runtime refuses the model, or its inputs are not those
                of the manifest.
            InvalidValueError: if the runtime does not run it on that device.
            MissingDependencyError: if the runtime is not installed.
        """
        self.close()
        session = load_session(
            self.manifest.format,
            self.folder,
            self.manifest.model_files,
            precision=self.manifest.precision,
            num_threads=num_threads,
            runtime=runtime or self.manifest.runtime,
            device=device,
        )
        stated = {spec.name: spec.dtype for spec in self.manifest.inputs}
        actual = {spec.name: spec.dtype for spec in session.inputs}
        if stated != actual:
            raise ArtifactError(
                f"The model in {str(self.folder)!r} has the inputs {actual}, its "
                f"manifest says {stated}."
            )
        self.session = session
        return self

    def close(self):
        """Lets go of the model; a later prediction opens it again."""
        if self.session is not None:
            self.session.close()
            self.session = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def predict(self, inputs):
        """Says for each example what the model's heads decide.

        Args:
            inputs: a list of texts where the artifact takes texts; always possible is a
                dict of input name -> array, the examples leading.
        Returns:
            A `ClassPrediction` or `ValuePrediction`, of no example where `inputs` is
            empty; for several outputs a dict of such by the heads' names.
        Raises:
            As `predict_outputs`.
        """
        outputs = self.predict_outputs(inputs)
        found = {
            head.name: head.predict(outputs[head.name]) for head in self.manifest.heads
        }
        return found if len(found) > 1 else next(iter(found.values()))

    def predict_outputs(self, inputs, *, batch_size=_BATCH_SIZE):
        """Runs the model on all examples; opens it if it is not open.

        Args:
            inputs: as `predict` takes them.
            batch_size: examples that are run at once.
        Returns:
            Dict of a head's name -> float32 array, shape `(examples, ...)`: what the
            model puts out there.
        Raises:
            InvalidValueError: if the inputs are not what the model takes.
            ArtifactError: if the model does not load or run, or a result is no number.
        """
        specs = {
            head.name: spec
            for head, spec in zip(
                self.manifest.heads, self.manifest.outputs, strict=False
            )
        }
        order, parts = [], {name: [] for name in specs}
        for rows, batch in self._batches(inputs, batch_size):
            if self.session is None:
                self.open()
            results = self.session.run(batch)
            order.append(rows)
            for name, spec in specs.items():
                self._check_outputs(spec, len(rows), results)
                parts[name].append(results[spec.name])
        return {
            name: self._in_order(order, parts[name], spec)
            for name, spec in specs.items()
        }

    def _in_order(self, order, parts, spec):
        """Returns the parts of an output as one array, in the order of the examples."""
        if not parts:
            shape = [0 if size is None else size for size in spec.shape]
            return np.empty(shape, np.float32)
        values = np.concatenate(parts)
        outputs = np.empty(values.shape, np.float32)
        outputs[np.concatenate(order)] = values
        self._check_finite(outputs)
        return outputs

    def to_arrays(self, inputs, length=None):
        """Turns what a user gives into what the model takes.

        Args:
            inputs: as `predict` takes them; named arrays are left as they are.
            length: ids of each text, at most `manifest.sequence_length`. None takes
                the model's own length; one that takes any length gets that of the
                longest of these texts, rounded up to a multiple of 8.
        Returns:
            Dict of input name -> array, checked against the manifest.
        Raises:
            InvalidValueError: if the inputs are not what the model takes.
            ArtifactError: if the tokenizer cannot be read.
        """
        if not isinstance(inputs, Mapping):
            if not self.manifest.is_text:
                raise InvalidValueError(
                    f"The artifact {str(self.folder)!r} takes named arrays, got "
                    f"{type(inputs).__name__}. Give a dict with the names "
                    f"{[spec.name for spec in self.manifest.inputs]}."
                )
            inputs = self._tokenize(inputs, length)
        check_inputs(self.manifest.inputs, inputs)
        return inputs

    def _batches(self, inputs, batch_size):
        """Yields row numbers and what the model takes for them.

        A model of any length gets texts of like length together: little is padded, and
        no more than a batch is tokenized at once.
        """
        if isinstance(inputs, Mapping) or not self._takes_any_length():
            arrays = self.to_arrays(inputs)
            num_examples = len(next(iter(arrays.values())))
            for start in range(0, num_examples, batch_size):
                rows = np.arange(start, min(start + batch_size, num_examples))
                batch = slice(start, start + batch_size)
                yield rows, {name: array[batch] for name, array in arrays.items()}
            return
        if isinstance(inputs, str | bytes):
            self.to_arrays(inputs)  # says what is wrong
        sizes = [len(text) if isinstance(text, str) else 0 for text in inputs]
        order = np.argsort(sizes, kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            yield rows, self.to_arrays([inputs[row] for row in rows])

    def _takes_any_length(self):
        specs = self.manifest.inputs
        return self.manifest.is_text and all(spec.shape[1] is None for spec in specs)

    def _tokenize(self, texts, length):
        from tfcompress.data.tokenizing import tokenize

        if self._tokenizer is None:
            self._tokenizer = _read_tokenizer(
                self.folder / TOKENIZER_NAME, self.manifest.sequence_length
            )
        specs = self.manifest.inputs
        if length is None:
            length = next((spec.shape[1] for spec in specs if spec.shape[1]), None)
        dtypes = {spec.name: spec.dtype for spec in specs}
        try:
            return tokenize(self._tokenizer, texts, dtypes, length=length)
        except ModelFileError as error:
            path = self.folder / TOKENIZER_NAME
            raise ArtifactError(f"{str(path)!r} cannot be used: {error}") from error

    def _check_outputs(self, spec, num_examples, results):
        actual = {key: array.shape for key, array in results.items()}
        found = actual.get(spec.name, ())
        wanted = (num_examples, *spec.shape[1:])
        if len(found) != len(wanted) or any(
            size not in (None, own) for size, own in zip(wanted, found, strict=True)
        ):
            raise ArtifactError(
                f"The model in {str(self.folder)!r} gave the outputs {actual}, its "
                f"manifest says {spec.name!r} with {wanted}."
            )

    def _check_finite(self, outputs):
        is_bad = ~np.isfinite(outputs).reshape(len(outputs), -1).all(axis=1)
        if is_bad.any():
            raise ArtifactError(
                f"The model in {str(self.folder)!r} gave NaN or infinity for "
                f"{is_bad.sum()} of {len(outputs)} examples, first for number "
                f"{int(is_bad.argmax())}: it is broken, export it again."
            )


def _read_manifest(folder):
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise ArtifactError(
            f"{str(folder)!r} is no artifact: it has no {MANIFEST_NAME!r}."
        )
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{str(path)!r} is damaged: it is no JSON that can be used ({error})."
        ) from error
    try:
        return Manifest.from_json(value)
    except InvalidValueError as error:
        raise ArtifactError(f"{str(path)!r} cannot be used: {error}") from error


def _verify(path, entry):
    if path.is_symlink():
        raise ArtifactError(
            f"{str(path)!r} is a link, which may point outside the artifact; put the "
            "file itself there."
        )
    if not path.is_file():
        raise ArtifactError(f"{str(path)!r} is missing; make the artifact again.")
    size = path.stat().st_size
    if size != entry.size_bytes:
        raise ArtifactError(
            f"{str(path)!r} has {size:,} bytes and its manifest says "
            f"{entry.size_bytes:,}: it is truncated or another file. Copy it again."
        )
    actual = _describe(path)
    if actual.sha256 != entry.sha256:
        raise ArtifactError(
            f"{str(path)!r} was altered: its SHA-256 is {actual.sha256[:12]}..., its "
            f"manifest says {entry.sha256[:12]}.... Copy it again."
        )


def _describe(path):
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(file.tell(), sha256)


def _check_external_files(path, names):
    """Refuses an ONNX file that reads what the manifest does not list."""
    try:
        locations = external_locations(path)
    except ValueError as error:
        raise ArtifactError(
            f"{str(path)!r} is no ONNX file, or a damaged one: {error}. Copy it again."
        ) from error
    for location in sorted(locations):
        name = location.decode("utf-8", "backslashreplace").removeprefix("./")
        if name not in names:
            raise ArtifactError(
                f"{str(path)!r} keeps weights in {shown(name)}, which is no file that "
                "the artifact lists. Make the artifact again with that file among "
                "model_files, beside the model."
            )


def _read_tokenizer(path, sequence_length):
    from tfcompress.data.folder_tokenizer import parse_tokenizer

    try:
        tokenizer = parse_tokenizer(path)
    except ModelFileError as error:
        raise ArtifactError(str(error)) from error
    cut = (tokenizer.truncation or {}).get("max_length")
    padding = tokenizer.padding or {}
    padded = [padding.get(key) for key in ("length", "pad_to_multiple_of")]
    if cut != sequence_length or any((size or 0) > sequence_length for size in padded):
        raise ArtifactError(
            f"{str(path)!r} cuts texts at {cut} ids and pads them to {padded[0]}, its "
            f"manifest says {sequence_length}. Make the artifact again."
        )
    return tokenizer
