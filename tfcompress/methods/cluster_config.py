"""The settings of clustering, checked when they are made."""

import dataclasses

from tfcompress.errors import InvalidValueError
from tfcompress.layer_rules import LayerRules
from tfcompress.methods.engines import OURS, check_engine
from tfcompress.methods.sensitivity import SENSITIVITIES
from tfcompress.methods.training_needs import TrainingNeed

# Ours first, then TFMOT's, by the names of its CentroidInitialization.
CENTROID_INITS = ("kmeans", "linear", "density_based", "random", "kmeans_plus_plus")
GRANULARITIES = ("per_tensor", "per_channel")
_NOT_OF_TFMOT = (
    *("granularity", "block_size", "sensitivity", "sensitivity_examples"),
    "refresh_steps",
)
MIN_CLUSTERS, MAX_CLUSTERS = 2, 256  # indices of 1 to 8 bits
RULE_SETTINGS = ("num_clusters", "granularity", "block_size", "centroid_init")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """Settings of `cluster`.

    Args:
        num_clusters: distinct values a codebook has, zero included, 2 to 256.
        granularity: `"per_tensor"`: one codebook for a weight; `"per_channel"`: one for
            each channel of its output axis.
        block_size: `None`, or the number of weights along the input axis (of an
            embedding: along the row) that share a float16 scale, at least 2. The tensor
            has one codebook; a value is an entry of it times the scale.
        centroid_init: `"kmeans"` (the one-dimensional optimum) or one of TFMOT's
            `"linear"`, `"density_based"`, `"random"`, `"kmeans_plus_plus"`. TFMOT has
            no `"kmeans"`: its engine takes its own default, `"kmeans_plus_plus"`.
        keep_zeros: whether the zeros of a pruned weight stay zeros, and are one of the
            clusters; zeros that are fewer than 1 in 100,000 weights are not kept.
        sensitivity: `None`: all weights count alike in k-means; `"fisher"`: as much as
            the loss depends on them (`methods/sensitivity.py`), which takes training
            data and no fine-tuning.
        sensitivity_examples: training examples for it, at least 1.
        refresh_steps: optimizer steps for which assignments are kept. 1 assigns in
            every step; more costs less (docs/decisions/clustering.md).
        seed: of the inits that draw.
        finetune: whether to fit `training`, where there is one.
        engine: `"tfcompress"`, or `"tfmot"`: stock `cluster_weights`, which assigns
            in every step and keeps zeros by its `preserve_sparsity`. It has no
            `granularity`, `block_size`, `sensitivity` and `refresh_steps`.
        layers: `LayerRules`; a rule may override `num_clusters`, `granularity`,
            `block_size` and `centroid_init`.
    """

    num_clusters: int = 16
    granularity: str = "per_tensor"
    block_size: int | None = None
    centroid_init: str = "kmeans"
    keep_zeros: bool = True
    sensitivity: str | None = None
    sensitivity_examples: int = 256
    refresh_steps: int = 20
    seed: int = 0
    finetune: bool = True
    engine: str = OURS
    layers: LayerRules = LayerRules()

    def __post_init__(self):
        _check_int("num_clusters", self.num_clusters, MIN_CLUSTERS, MAX_CLUSTERS)
        _check_int("sensitivity_examples", self.sensitivity_examples, 1, None)
        _check_int("refresh_steps", self.refresh_steps, 1, None)
        _check_int("seed", self.seed, 0, None)
        if self.block_size is not None:
            _check_int("block_size", self.block_size, 2, None)
        _check_choice("granularity", self.granularity, GRANULARITIES)
        _check_choice("centroid_init", self.centroid_init, CENTROID_INITS)
        if self.sensitivity is not None:
            _check_choice("sensitivity", self.sensitivity, SENSITIVITIES)
        for name in ("keep_zeros", "finetune"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidValueError(
                    f"ClusterConfig.{name} must be True or False, got "
                    f"{getattr(self, name)!r}."
                )
        self._check_together()
        check_engine(self, _NOT_OF_TFMOT)
        for key, settings in self.layers.rules.items():
            if unknown := set(settings or ()) - set(RULE_SETTINGS):
                raise InvalidValueError(
                    f"The rule for layer {key!r} sets {sorted(unknown)[0]!r}, which "
                    "clustering cannot set by layer. Settings: "
                    f"{', '.join(RULE_SETTINGS)}."
                )
            if settings:  # its values are checked as the config's own are
                dataclasses.replace(self, layers=LayerRules(), **settings)

    def training_needs(self, is_fitted):
        """Yields what clustering needs of a training, as of `check_training`."""
        if self.sensitivity is not None:
            yield TrainingNeed(
                f"ClusterConfig.sensitivity={self.sensitivity!r}",
                "is measured on training examples",
                ("batches", "loss"),
                "set sensitivity=None",
            )

    @property
    def has_block_scales(self):
        """Whether a layer's blocks of weights get scales."""
        rules = self.layers.rules.values()
        return any((rule or {}).get("block_size") for rule in rules) or bool(
            self.block_size
        )

    def _check_together(self):
        if self.block_size is not None and self.granularity != "per_tensor":
            raise InvalidValueError(
                f"ClusterConfig.block_size={self.block_size!r} gives a tensor one "
                f"codebook, and granularity={self.granularity!r} one a channel. Take "
                "one of the two."
            )
        if self.sensitivity is not None and self.centroid_init != "kmeans":
            raise InvalidValueError(
                f"ClusterConfig.sensitivity={self.sensitivity!r} weighs the values of "
                f"k-means, and centroid_init={self.centroid_init!r} does not. Take "
                "centroid_init='kmeans', or sensitivity=None."
            )


def _check_int(name, value, low, high):
    is_int = isinstance(value, int) and not isinstance(value, bool)
    if not is_int or value < low or (high is not None and value > high):
        limits = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise InvalidValueError(
            f"ClusterConfig.{name} must be a whole number {limits}, got {value!r}."
        )


def _check_choice(name, value, choices):
    if value not in choices:
        raise InvalidValueError(
            f"ClusterConfig.{name} must be one of {', '.join(choices)}, got {value!r}."
        )
