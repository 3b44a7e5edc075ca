"""Simulate one night: every CCD of every exposure drawn, written and delivered in order; the truth kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from zsds_tasks import parallel
from zsds_tasks.errors import ConfigurationError
from zsds_tasks.settings import Settings
from zsds_tasks.simulator import faults as fault_plans
from zsds_tasks.simulator.artefacts import artefact_table
from zsds_tasks.simulator.ccd_frame import expose_ccd
from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.delivery import (
    Delivery,
    WrittenFile,
    deliver,
    deliver_again,
    delivery_table,
    digest,
    open_spool,
    write_hidden,
)
from zsds_tasks.simulator.faults import Fault, Outcome
from zsds_tasks.simulator.frames import primary_header, quadrant_header, write_frame
from zsds_tasks.simulator.instrument import Instrument
from zsds_tasks.simulator.products import Exposure
from zsds_tasks.simulator.world import Night, World
from zsds_tasks.survey.headers import load_headers
from zsds_tasks.survey.nights import ObservingNight

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to make any file of a night: small and picklable."""

    include: Path
    camera: str
    seed: int
    night: ObservingNight
    exposures: int | None
    without: tuple[str, ...]


@dataclass(frozen=True)
class FileTask:
    """One file to make."""

    exposure: int
    ccdid: int
    fault: Fault


@dataclass(frozen=True)
class MadeFile:
    """A file in the spool, perhaps with a second version of it, and the truth of its pixels."""

    file: WrittenFile
    again: WrittenFile | None
    artefacts: pa.Table
    megapixels: float


@dataclass(frozen=True)
class NightSummary:
    """What a simulated night came to."""

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


def simulate_night(
    settings: Settings,
    night: ObservingNight,
    seed: int,
    *,
    camera: str | None = None,
    exposures: int | None = None,
    faults: bool = True,
    without: tuple[str, ...] = (),
    workers: int | None = None,
    progress: Progress | None = None,
) -> NightSummary:
    """Deliver one night of raw files to the incoming folder and write its truth.

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
    workers : int, optional
        Parallel workers; default one per core.
    progress : callable, optional
        Called with (files done, files in all, name of the last one).

    Returns
    -------
    NightSummary

    Raises
    ------
    ConfigurationError
        If an effect is unknown.
    DeclarationError
        If a declaration is wrong.
    TransientError
        If the incoming folder cannot be written.
    """
    began = time.monotonic()
    name = camera or settings.camera
    recipe = Recipe(settings.include, name, seed, night, exposures, tuple(sorted(without)))
    world, planned, instrument = _prepare(recipe)
    files = [(e, ccdid) for e in planned.exposures for ccdid in instrument.camera.ccdids]
    plan = fault_plans.plan_faults(world.config.faults, seed, night, files) if faults else {}
    tasks = [
        FileTask(i, ccdid, plan.get((e.expid, ccdid), Fault.NONE))
        for i, e in enumerate(planned.exposures)
        for ccdid in instrument.camera.ccdids
    ]
    incoming = settings.incoming_folder
    spool = open_spool(incoming, f"{name}-{night}")
    try:
        made, deliveries = _deliver_all(recipe, incoming, spool, tasks, (workers, settings, progress))
    finally:
        shutil.rmtree(spool, ignore_errors=True)
    truth = settings.truth_folder / str(night)
    write_truth(truth, "artefacts", pa.concat_tables(m.artefacts for m in made))
    write_truth(truth, "deliveries", delivery_table(deliveries))
    arrived = [d for d in deliveries if d.expected != Outcome.MISSING]
    return NightSummary(
        night=night,
        camera=name,
        seed=seed,
        exposures=len(planned.exposures),
        files=len(arrived),
        bytes=sum(d.file.size for d in arrived),
        megapixels=sum(m.megapixels for m in made),
        faults={fault.value: list(plan.values()).count(fault) for fault in sorted(set(plan.values()))},
        seconds=time.monotonic() - began,
        truth=truth,
    )


def _deliver_all(
    recipe: Recipe,
    incoming: Path,
    spool: Path,
    tasks: list[FileTask],
    how: tuple[int | None, Settings, Progress | None],
) -> tuple[list[MadeFile], list[Delivery]]:
    workers, settings, progress = how
    made, deliveries, late, again = [], [], [], []
    results = parallel.map_ordered(
        partial(make_file, recipe, spool), tasks, workers=workers, settings=settings
    )
    for task, result in zip(tasks, results, strict=True):
        made.append(result)
        expected = fault_plans.first_outcome(task.fault)
        if task.fault == Fault.LATE:
            late.append(result.file)
        elif task.fault == Fault.LOST:
            deliveries.append(Delivery(result.file, "", task.fault, expected))
        else:
            deliveries.append(deliver(incoming, result.file, task.fault, expected))
        if result.again:
            again.append((result.again, task.fault))
        if progress:
            progress(len(made), len(tasks), result.file.name)
    for file, fault in again:
        outcome = Outcome.DUPLICATE if fault == Fault.DUPLICATE else Outcome.QUARANTINED
        deliveries.append(deliver_again(incoming, file, fault, outcome))
    deliveries.extend(deliver(incoming, file, Fault.LATE, Outcome.INGESTED) for file in late)
    return made, deliveries


def make_file(recipe: Recipe, spool: Path, task: FileTask) -> MadeFile:
    """Draw one CCD of one exposure and write its file into the spool."""
    world, night, instrument = _prepare(recipe)
    exposure, camera = night.exposures[task.exposure], instrument.camera
    frame = expose_ccd(instrument, night.scene(exposure, task.ccdid), task.ccdid)
    contract = load_headers(camera.headers, recipe.include)
    survey = world.site.survey
    primary = primary_header(contract, camera, survey, world.config.schedule, exposure, task.ccdid)
    extensions = [quadrant_header(contract, q, exposure) for q in camera.quadrants_of(task.ccdid)]
    spoilt = fault_plans.spoil_frame(frame, task.fault)
    content = write_frame(fault_plans.spoil_header(primary, task.fault), extensions, spoilt)
    content = fault_plans.spoil_bytes(content, task.fault)
    name = str(exposure.raw_name(survey, task.ccdid))
    again = None
    if task.fault == Fault.DUPLICATE:
        again = _write(spool, f"again-{name}", name, content, (exposure, task.ccdid))
    elif task.fault == Fault.CONFLICT:
        changed = primary.copy()
        changed["OBSERVER"] = fault_plans.RESENT_OBSERVER
        second = write_frame(changed, extensions, frame)
        again = _write(spool, f"again-{name}", name, second, (exposure, task.ccdid))
    file = _write(spool, name, name, content, (exposure, task.ccdid))
    pixels = sum(image.size for image in frame.images) / 1e6
    return MadeFile(file, again, artefact_table(camera, list(frame.artefacts)), pixels)


def write_truth(folder: Path, name: str, table: pa.Table) -> Path:
    """Write a table of truth as ``<folder>/<name>.parquet``; it appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path, hidden = folder / f"{name}.parquet", folder / f".{name}.parquet"
    pq.write_table(table, hidden, compression="zstd")
    hidden.replace(path)
    return path


def _write(spool: Path, hidden: str, name: str, content: bytes, what: tuple[Exposure, int]) -> WrittenFile:
    exposure, ccdid = what
    path = write_hidden(spool, hidden, content)
    return WrittenFile(
        exposure.expid,
        ccdid,
        exposure.imgtypecode,
        exposure.programid,
        name,
        path,
        len(content),
        digest(content),
    )


@lru_cache(maxsize=2)
def _prepare(recipe: Recipe) -> tuple[World, Night, Instrument]:
    """Plan the night and build the instrument: once per process."""
    config = load_simulator(recipe.include)
    try:
        config = config.without(*recipe.without)
    except ValueError as error:
        raise ConfigurationError(
            str(error), remedy="name effects of include/config/simulator.yaml"
        ) from error
    world = World.of(recipe.camera, recipe.include, recipe.seed, config)
    night = world.night(recipe.night, exposures=recipe.exposures)
    return world, night, Instrument(world.site.camera, config.instrument, config.effects, recipe.seed)
