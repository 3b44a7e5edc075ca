"""A small observatory for two nights: simulated, taken in, with planted masters, one field, one filter."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.acceptance import Verdict
from zsds_tasks.science.calibration.masters import Image, Master
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.night import simulate_night
from zsds_tasks.simulator.production import Recipe, Stage, set_stage
from zsds_tasks.simulator.testbed import planted
from zsds_tasks.steps import raw
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.steps.exposure import process_exposures
from zsds_tasks.steps.references import build_references
from zsds_tasks.survey.camera import Quadrant
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.training.configuration import SetsConfig, Sky

NO_INPUTS, NO_VERSION = "0" * 64, "0" * 12
MASTER_ERROR = 1e-3
LEAST_EPOCHS = 3
UNTIL_MORNING = dt.timedelta(hours=36)
BITS_OF_DEFECTS = {
    "dead": MaskBit.DEAD,
    "low": MaskBit.LOW_RESPONSE,
    "high": MaskBit.HIGH_RESPONSE,
    "hot": MaskBit.NOISY,
    "blocked column": MaskBit.LOW_RESPONSE,
}


def build_observatory(
    sky: Sky, config: SetsConfig, include: Path, folder: Path, tell: Callable[[str], None] = print
) -> Settings:
    """Simulate and calibrate both nights of one sky; build its references between them.

    Parameters
    ----------
    sky : Sky
    config : SetsConfig
    include : Path
        Declarations to start from.
    folder : Path
        Empty or missing; everything lies under it.
    tell : callable
        Called with a sentence now and then.

    Returns
    -------
    Settings
        Of an installation whose nights are calibrated and whose references are of the first.
    """
    own = write_include(sky, config, include, folder / "include")
    settings = Settings(
        var=folder / "var", include=own, camera=config.camera, workers=1, root="", incoming=None, truth=None,
        catalogs="",
    )  # fmt: skip
    settings.incoming_folder.mkdir(parents=True)
    lakehouse = open_lakehouse(settings)
    for night, count in zip(config.nights, (config.epochs, config.images), strict=True):
        this = ObservingNight.parse(night)
        simulate_night(settings, this, sky.seed, exposures=count, faults=False, workers=1)
        stage = set_stage(Recipe(own, config.camera, sky.seed, this, count))
        now = max(exposure.start for exposure in stage.night.exposures) + UNTIL_MORNING
        raw.ingest(lakehouse, settings, now)
        _write_masters(lakehouse, stage, this, config)
        process_exposures(lakehouse, settings, now)
        if night == config.nights[0]:  # of both nights they would leave few images that are later
            built = build_references(lakehouse, settings, now)
            left = (*built.failed, *built.waiting)
            tell(f"{sky.name}: {built.built} references; {'; '.join(left[:2])}")
    return settings


def write_include(sky: Sky, config: SetsConfig, include: Path, folder: Path) -> Path:
    """Copy declarations with one field, one filter, no calibration frames, and the sky's densities."""
    shutil.copytree(include, folder, ignore=shutil.ignore_patterns("models"))
    changes: dict[str, Any] = {
        "schedule": {
            "bias_frames": 0,
            "flats_per_led": 0,
            "short_flats_per_led": 0,
            "engineering_frames": False,
            "filter_sequence": [config.filtername],
            "pass_interval_s": config.pass_interval_s,
        },
        "conditions": {"seeing_median_arcsec": sky.seeing_arcsec, "cloudy_night_fraction": 0.0},
    }
    _change(folder / "config" / "simulator.yaml", changes)
    if not sky.is_natural:
        _change(folder / "config" / "simulator.yaml", config.boosts)
    # One night's few epochs must do; how good a reference is matters less here than that there is one.
    few = {
        "selection": {"min_frames": LEAST_EPOCHS, "min_nights": 1, "readmit": True, "most_airmass": 2.5},
        "quality": {"median_coverage": LEAST_EPOCHS, "coverage": 1, "depth_gain_mag": 0.2},
    }
    _change(folder / "config" / "references.yaml", {"cameras": {config.camera: few}})
    grid = folder / "config" / "survey" / f"fields-{config.camera}.yaml"
    fields = yaml.safe_load(grid.read_text(encoding="utf-8"))
    fields["fields"] = [one for one in fields["fields"] if one["id"] == sky.field]
    grid.write_text(yaml.safe_dump(fields), encoding="utf-8")
    # Scores of older models have no say in what is a candidate, and there are no models in this copy.
    (folder / "config" / "realbogus.yaml").write_text("{features: null, images: null}\n", encoding="utf-8")
    return folder


def _change(path: Path, changes: Mapping[str, Any]) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(merged(content, changes), sort_keys=False), encoding="utf-8")


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values with some of them changed; what is no mapping is replaced whole."""
    result = dict(values)
    for name, change in changes.items():
        old = result.get(name)
        inner = isinstance(old, Mapping) and isinstance(change, Mapping)
        result[name] = merged(old, change) if inner else change  # type: ignore[arg-type]
    return result


def _write_masters(lakehouse: Lakehouse, stage: Stage, night: ObservingNight, config: SetsConfig) -> None:
    """Write bias, flats and masks as planted: masters are not what is studied here."""
    camera, survey = stage.instrument.camera, stage.world.site.survey
    office, rows = Office(lakehouse, camera, survey, NO_VERSION, 7), []
    fid = next(one.fid for one in survey.filters if one.name == config.filtername)
    for quadrant in camera.quadrants:
        bias, response, defects = planted(stage.instrument, quadrant)
        mask = _mask(defects, quadrant, stage.world.seed, config.unmasked_share)
        good, of_night = Verdict(True, "planted"), str(night)

        def label(kind: CalibrationKind, fid: int = 0, quadrant: Quadrant = quadrant) -> Label:
            return Label(night, quadrant, kind, fid, NO_INPUTS)

        rows += [
            office.frame(label(CalibrationKind.BIAS), _master(bias), good),
            office.frame(
                label(CalibrationKind.HIGH_FREQUENCY_FLAT, fid), _master(response), good, bias_night=of_night
            ),
            office.mask(label(CalibrationKind.BAD_PIXELS), mask, good, bias_night=of_night),
        ]
    lakehouse.table("master_frames").merge(rows)


def _mask(
    defects: Mapping[str, np.ndarray[Any, np.dtype[np.bool_]]], quadrant: Quadrant, seed: int, missed: float
) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """Return the static mask without some of the defects: real masks are never complete."""
    random = np.random.default_rng((seed, quadrant.rcid))
    mask = np.zeros(defects["dead"].shape, np.uint16)
    for kind, bit in BITS_OF_DEFECTS.items():
        known = defects[kind]
        if kind != "blocked column":
            known = known & (random.random(known.shape) >= missed)
        mask[known] |= np.uint16(bit.flag)
    return mask


def _master(image: Image) -> Master:
    image = np.ascontiguousarray(image, np.float32)
    return Master(
        image=image,
        uncertainty=np.full_like(image, MASTER_ERROR),
        excess=np.ones_like(image),
        is_constant=np.zeros(image.shape, bool),
        used=(),
        rejected=(),
        level=0.0,
        frame_noise=1.0,
    )
