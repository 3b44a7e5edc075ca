"""What is simulated to train on, and how models are trained: ``include/config/training.yaml``."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.errors import ConfigurationError
from zsds_tasks.science.alerts.select import TriggerConfig
from zsds_tasks.steps.alerts.configuration import load_alerts_config

STAGE = "training"
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Split = Literal["train", "validation", "test"]


class Sky(Declaration):
    """One small observatory that looks at one field in two nights."""

    seed: Annotated[int, Field(ge=0)] = Field(..., description="of the world; belongs to one split only")
    field: Count = Field(..., description="of the camera's grid: sparse, rich, crowded, on the ecliptic")
    seeing_arcsec: Positive = Field(1.5, description="median seeing of both nights before pixels")
    split: Split = Field(..., description="rows of a seed are never in two of them")
    is_natural: bool = Field(
        default=False, description="as dense in artefacts and changes as any simulated night: to count with"
    )

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.split}-{self.seed}-{self.field}" + ("-natural" if self.is_natural else "")


class SetsConfig(Declaration):
    """Labelled candidates: which skies, how many images, and what is denser than in other simulations."""

    camera: str = Field("mini", description="a file of include/config/cameras")
    filtername: str = Field("r", description="of all images")
    nights: tuple[str, str] = Field(("20250918", "20251012"), description="of the reference, of the images")
    epochs: Count = Field(5, description="of a reference")
    images: Count = Field(5, description="of the later night")
    pass_interval_s: Positive = Field(1500.0, description="between images")
    threshold_sigma: Positive = Field(4.5, description="least S_corr; lower than an alert's for more noise")
    forgiving: tuple[dict[str, Any], ...] = Field(
        ({}, {"engine": {"zogy": {"psf_error": 0.0}}, "align": {"sigma_floor_px": 0.01}}),
        description="configurations of the difference, one pass each: with less noise allowed for "
        "registration and PSFs, more residuals of stars become candidates. Only what is trained on has them.",
    )
    unmasked_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.3, description="of the bad pixels that the static mask misses"
    )
    boosts: dict[str, Any] = Field(
        default_factory=dict, description="changes of simulator.yaml for skies that are not natural"
    )
    skies: tuple[Sky, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> SetsConfig:
        split_of: dict[int, str] = {}
        for sky in self.skies:
            if split_of.setdefault(sky.seed, sky.split) != sky.split:
                raise ValueError(f"seed {sky.seed} is both in {split_of[sky.seed]} and {sky.split}")
        return self

    def digest(self, sky: Sky) -> str:
        """Return what a cached set of this sky was made from, as one word."""
        words = self.model_dump_json(exclude={"skies"}) + sky.model_dump_json()
        return hashlib.sha256(words.encode()).hexdigest()[:16]


class TreesConfig(Declaration):
    """Gradient-boosted trees over the features of candidates."""

    trees: Count = 600
    leaves: Count = 15
    learning_rate: Positive = 0.02
    least_rows: Count = Field(15, description="of a leaf; some artefacts are rare")
    feature_share: Share = Field(0.6, description="of the features that each tree sees")
    row_share: Share = Field(0.8, description="of the rows that each tree sees")
    patience: Count = Field(40, description="trees without gain on the validation seeds before it stops")
    forgotten_share: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="of the values made unknown in training: other surveys lack some features"
    )
    seed: int = 1


class NetworkConfig(Declaration):
    """A small convolutional network over triplets of stamps."""

    near_filters: tuple[Count, Count, Count, Count] = Field(
        (16, 24, 32, 48), description="of the convolutions over the middle, pixel by pixel"
    )
    wide_filters: tuple[Count, Count] = Field(
        (12, 16), description="of those over the whole stamp at a third of the resolution"
    )
    hidden: Count = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    learning_rate: Positive = Field(3e-3, description="the highest: a short rise, then down as a cosine")
    weight_decay: Annotated[float, Field(ge=0)] = 2e-2
    averaging: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.997, description="share of the running mean of the weights that each step keeps; it is the model"
    )
    batch: Count = 64
    epochs: Count = Field(12, description="at most")
    rows_per_epoch: Count = Field(8000, description="drawn anew each time, kinds balanced")
    patience: Count = Field(8, description="epochs without gain on the validation seeds before it stops")
    shift_px: Annotated[int, Field(ge=0)] = Field(2, description="stamps are moved by up to so much")
    noise: Annotated[float, Field(ge=0)] = Field(0.7, description="added, at most, in units of a stamp's own")
    blur_share: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="of the triplets made wider")
    hole_share: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="of them given edges and holes")
    seed: int = 1


class TrainingConfig(Declaration):
    """Everything about training."""

    sets: SetsConfig = SetsConfig()
    trees: TreesConfig = TreesConfig()
    network: NetworkConfig = NetworkConfig()
    false_positive_rate: Share = Field(0.01, description="at which recall is quoted")
    left_out: tuple[str, ...] = Field(
        ("passed", "streak", "change_residual"),
        description="kinds that are neither trained on nor counted: what bodies leave in a reference of one "
        "night's few epochs is a change by its looks; trails are looked for elsewhere (reference section 9); "
        "a change whose amount truth does not know, near edges that not all epochs cover, is neither",
    )
    least_scorr: Positive = Field(5.0, description="of candidates that count in evaluation: those of alerts")
    trigger: TriggerConfig = Field(
        TriggerConfig(), description="what would alert; declared in alerts.yaml, whose borders are taken"
    )


def load_training_config(include: Path) -> TrainingConfig:
    """Read ``<include>/config/training.yaml``, and what triggers alerts from ``alerts.yaml``.

    A border of scores is none here: scores are what is judged.

    Raises
    ------
    ConfigurationError
        If a file is wrong, or training.yaml declares what triggers a second time.
    """
    trigger = load_alerts_config(include).trigger.model_copy(update={"least_rb": 0.0})
    path = include / "config" / f"{STAGE}.yaml"
    config = read_declaration(path, TrainingConfig)
    if "trigger" in config.model_fields_set:
        raise ConfigurationError(
            "declares trigger, which is that of alerts", subject=str(path), remedy="declare it in alerts.yaml"
        )
    return config.model_copy(update={"trigger": trigger})
