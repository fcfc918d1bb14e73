"""Handles of presets: fetched into the hub's own cache, as a folder."""

import pathlib

from tfcompress.data.reachability import why_unreachable
from tfcompress.errors import InvalidValueError, require

HUGGING_FACE, KAGGLE = "hf://", "kaggle://"
_KAGGLE_HOST = "https://www.kaggle.com"
# What a checkpoint is made of here; above all, no pickles.
_FILES = (
    *("config.json", "model.safetensors", "model.safetensors.index.json"),
    *("model-*.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt"),
    *("model.weights.h5", "model.weights.json", "model_*.weights.h5", "assets/*"),
)


def fetch(handle):
    """Downloads a preset unless it is in the cache of its hub.

    Args:
        handle: "hf://user/model" or "kaggle://user/model/keras/variation[/version]".
            `HF_HUB_OFFLINE`, `HF_HOME` and the like are honoured.
    Returns:
        Path of the folder, a `str`.
    Raises:
        InvalidValueError: if it cannot be had; in under 20 s without a network.
        MissingDependencyError: if the hub's client is not installed.
    """
    if handle.startswith(HUGGING_FACE):
        return _fetch_hugging_face(handle)
    return _fetch_kaggle(handle)


def _fetch_hugging_face(handle):
    hub = require("huggingface_hub", extra="nlp")
    constants = require("huggingface_hub.constants", extra="nlp")
    errors = require("huggingface_hub.errors", extra="nlp")
    reason = None
    if constants.HF_HUB_OFFLINE:
        reason = "HF_HUB_OFFLINE is set"
    reason = reason or why_unreachable(constants.ENDPOINT)
    try:
        return hub.snapshot_download(
            handle.removeprefix(HUGGING_FACE),
            allow_patterns=list(_FILES),
            local_files_only=reason is not None,
        )
    except (errors.HfHubHTTPError, ValueError, OSError) as error:
        raise _not_had(handle, constants.HF_HUB_CACHE, reason or error) from error


def _fetch_kaggle(handle):
    kagglehub = require("kagglehub", extra="nlp")
    config = require("kagglehub.config", extra="nlp")
    errors = require("kagglehub.exceptions", extra="nlp")
    import requests

    parts = handle.removeprefix(KAGGLE).split("/")
    if len(parts) not in (4, 5) or not all(parts):
        raise InvalidValueError(
            f"Preset {handle!r} must have the form "
            "kaggle://user/model/keras/variation, and /version if you like."
        )
    cache = pathlib.Path(config.get_cache_folder()) / "models"
    cached = cache.joinpath(*parts)
    if len(parts) == 5 and cached.with_name(f"{parts[-1]}.complete").is_file():
        return str(cached)
    reason = why_unreachable(_KAGGLE_HOST)
    if reason is None:
        try:
            return kagglehub.model_download("/".join(parts))
        except (
            requests.RequestException,
            errors.BackendError,
            errors.DataCorruptionError,
            errors.NotFoundError,
            errors.UnauthenticatedError,
            ValueError,
            OSError,
        ) as error:
            reason = error
    raise _not_had(handle, cache, reason)


def _not_had(handle, cache, reason):
    line = str(reason).strip().partition("\n")[0].rstrip(".")
    return InvalidValueError(
        f"Preset {handle!r} cannot be had: it is not in the cache {str(cache)!r}, and "
        f"the download failed: {line}. Fetch it where there is a network and name its "
        "folder, or take a random network such as 'random:tiny'."
    )
