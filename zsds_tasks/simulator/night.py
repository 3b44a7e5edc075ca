"""Simulate one night: every CCD of every exposure drawn, written and delivered in order; the truth kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa

from zsds_tasks import parallel
from zsds_tasks.errors import ConfigurationError
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.delivery import faults as fault_plans
from zsds_tasks.simulator.delivery.courier import Courier, delivery_table, open_spool
from zsds_tasks.simulator.delivery.faults import Fault
from zsds_tasks.simulator.production import FileTask, MadeFile, Recipe, Stage, make_file, set_stage
from zsds_tasks.simulator.truth.artefacts import defect_table
from zsds_tasks.simulator.truth.objects import night_objects
from zsds_tasks.simulator.truth.published_catalogs import write_reference_catalogs
from zsds_tasks.simulator.truth.recipe import TABLE as RECIPE
from zsds_tasks.simulator.truth.recipe import recipe_table
from zsds_tasks.simulator.truth.tables import exposure_table, quadrant_table, write_truth
from zsds_tasks.survey.nights import ObservingNight

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class NightSummary:
    """What a simulated night came to; `files` and `bytes` count what arrived, repeats included."""

    night: ObservingNight
    camera: str
    seed: int
    exposures: int
    files: int
    bytes: int
    megapixels: float
    faults: dict[str, int]
    seconds: float
    truth: Path
    catalogs: dict[str, str]

    def as_dict(self) -> dict[str, object]:
        """Return what a person wants to read."""
        return {
            "camera": self.camera,
            "seed": self.seed,
            "exposures": self.exposures,
            "files": self.files,
            "megabytes": round(self.bytes / 1e6, 1),
            "megapixels": round(self.megapixels, 1),
            "faults": ", ".join(f"{n} {name}" for name, n in self.faults.items()) or "none",
            "seconds": round(self.seconds, 1),
            "truth": str(self.truth),
            "reference catalogues": ", ".join(self.catalogs) or "none",
        }


def simulate_night(
    settings: Settings,
    night: ObservingNight,
    seed: int,
    *,
    camera: str | None = None,
    exposures: int | None = None,
    faults: bool = True,
    without: tuple[str, ...] = (),
    campaign: str = "",
    workers: int | None = None,
    progress: Progress | None = None,
    patience_s: float = 0.0,
) -> NightSummary:
    """Deliver one night of raw files to the incoming folder; write its truth and reference catalogues.

    Parameters
    ----------
    settings : Settings
        Where things are; the camera's name unless `camera` gives one.
    night : ObservingNight
        Which night.
    seed : int
        Same seed, same bytes.
    camera : str, optional
        A file of include/config/cameras.
    exposures : int, optional
        Cut the night after so many science exposures.
    faults : bool
        Whether some deliveries fail, as `faults` of simulator.yaml says.
    without : tuple of str
        Effects to switch off.
    campaign : str
        One of `schedule.campaigns` of simulator.yaml; default the whole grid.
    workers : int, optional
        Parallel workers; default one per core.
    progress : callable, optional
        Called with (exposures done, exposures in all, name of the last file).
    patience_s : float
        Wait this long for the first of two files of one name to be taken away before the second is sent;
        after that the second replaces the first, and the truth says so.

    Returns
    -------
    NightSummary

    Raises
    ------
    ConfigurationError
        If an effect or the campaign is unknown.
    DeclarationError
        If a declaration is wrong.
    TransientError
        If the incoming folder or the truth cannot be written.
    """
    began = time.monotonic()
    name = camera or settings.camera
    recipe = Recipe(settings.include, name, seed, night, exposures, tuple(sorted(without)), campaign)
    stage = set_stage(recipe)
    tasks, plan = _plan(stage, seed, night, faults=faults)
    # As with a real survey, catalogues are there before the first frame: who takes it in wants them at once.
    catalogs = write_reference_catalogs(stage.night, _catalogs_folder(settings), settings)
    spool = open_spool(settings.incoming_folder, f"{name}-{night}")
    courier = Courier(settings.incoming_folder)
    made: list[MadeFile] = []
    try:
        results = parallel.map_ordered(
            partial(make_file, recipe, spool), tasks, workers=workers, settings=settings
        )
        for task, result in zip(tasks, results, strict=True):
            made.append(result)
            courier.take(result.file, result.again, task.fault)
            if progress and task.ccdid == stage.instrument.camera.n_ccds:
                progress(task.exposure + 1, len(stage.night.exposures), result.file.name)
        courier.finish(patience_s)
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    _write_truth(settings, stage, recipe, made, courier)
    return NightSummary(
        night=night,
        camera=name,
        seed=seed,
        exposures=len(stage.night.exposures),
        files=courier.count,
        bytes=courier.bytes,
        megapixels=sum(m.megapixels for m in made),
        faults={fault.value: list(plan.values()).count(fault) for fault in sorted(set(plan.values()))},
        seconds=time.monotonic() - began,
        truth=settings.truth_folder / str(night),
        catalogs=catalogs,
    )


def _plan(
    stage: Stage, seed: int, night: ObservingNight, *, faults: bool
) -> tuple[list[FileTask], dict[tuple[int, int], Fault]]:
    ccdids, exposures = stage.instrument.camera.ccdids, stage.night.exposures
    files = [(exposure, ccdid) for exposure in exposures for ccdid in ccdids]
    plan = fault_plans.plan_faults(stage.world.config.faults, seed, night, files) if faults else {}
    tasks = [
        FileTask(i, ccdid, plan.get((exposure.expid, ccdid), Fault.NONE))
        for i, exposure in enumerate(exposures)
        for ccdid in ccdids
    ]
    return tasks, plan


def _write_truth(
    settings: Settings, stage: Stage, recipe: Recipe, made: list[MadeFile], courier: Courier
) -> None:
    survey, camera, exposures = stage.world.site.survey, stage.instrument.camera, stage.night.exposures
    science = [survey.is_science(e.imgtypecode, e.programid) for e in exposures]
    tables = {
        "objects": night_objects(stage.night),
        "exposures": exposure_table(exposures, science),
        "quadrants": quadrant_table(camera, stage.instrument.optics, exposures),
        "detections": pa.concat_tables([m.detections for m in made]),
        "artefacts": pa.concat_tables([m.artefacts for m in made]),
        "deliveries": delivery_table(courier.deliveries),
        RECIPE: recipe_table(recipe.camera, recipe.seed, recipe.without),
    }
    if stage.world.config.effects.bad_pixels:
        tables["defects"] = defect_table(camera, stage.world.config.instrument.detector, stage.world.seed)
    write_truth(settings.truth_folder, recipe.night, tables)


def _catalogs_folder(settings: Settings) -> Path:
    if "://" in settings.catalogs_uri:
        raise ConfigurationError(
            "the simulator writes its reference catalogues into a folder",
            subject=f"ZSDS_CATALOGS={settings.catalogs_uri}",
            remedy="unset it while simulating",
        )
    return Path(settings.catalogs_uri)
