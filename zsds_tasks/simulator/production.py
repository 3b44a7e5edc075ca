"""Make any one file of a night, in any process, from a recipe of a few words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from zsds_tasks.errors import ConfigurationError
from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.delivery import faults as fault_plans
from zsds_tasks.simulator.delivery.courier import WrittenFile, digest, write_hidden
from zsds_tasks.simulator.delivery.faults import Fault
from zsds_tasks.simulator.delivery.frames import primary_header, quadrant_header, write_frame
from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.products import Exposure
from zsds_tasks.simulator.truth.artefacts import artefact_table
from zsds_tasks.simulator.truth.tables import detection_table
from zsds_tasks.simulator.world import Night, World
from zsds_tasks.survey.headers import load_headers
from zsds_tasks.survey.nights import ObservingNight


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to make any file of a night: small and picklable."""

    include: Path
    camera: str
    seed: int
    night: ObservingNight
    exposures: int | None = None
    without: tuple[str, ...] = ()
    campaign: str = ""


@dataclass(frozen=True)
class FileTask:
    """One file to make: place of its exposure in the night, its CCD, and what befalls it."""

    exposure: int
    ccdid: int
    fault: Fault = Fault.NONE


@dataclass(frozen=True)
class MadeFile:
    """A file in the spool, perhaps with a second one to be sent later, and the truth about its pixels."""

    file: WrittenFile
    again: WrittenFile | None
    detections: pa.Table
    artefacts: pa.Table
    megapixels: float


@dataclass(frozen=True)
class Stage:
    """World, night and instrument of a recipe."""

    world: World
    night: Night
    instrument: Instrument


@lru_cache(maxsize=2)
def set_stage(recipe: Recipe) -> Stage:
    """Plan the night and build the instrument: once per process.

    Raises
    ------
    ConfigurationError
        If an effect to leave out is unknown.
    """
    config = load_simulator(recipe.include)
    try:
        config = config.without(*recipe.without)
    except ValueError as error:
        raise ConfigurationError(
            str(error), remedy="name effects of zsds_tasks/simulator/effects.py"
        ) from error
    world = World.of(recipe.camera, recipe.include, recipe.seed, config)
    night = world.night(recipe.night, exposures=recipe.exposures, campaign=recipe.campaign)
    return Stage(world, night, Instrument(world.site.camera, config.instrument, config.effects, recipe.seed))


def make_file(recipe: Recipe, spool: Path, task: FileTask) -> MadeFile:
    """Draw one CCD of one exposure and write its file into the spool.

    Raises
    ------
    TransientError
        If the spool cannot be written.
    """
    stage = set_stage(recipe)
    exposure, camera = stage.night.exposures[task.exposure], stage.instrument.camera
    scene = stage.night.scene(exposure, task.ccdid)
    frame = expose_ccd(stage.instrument, scene, task.ccdid)
    survey, schedule = stage.world.site.survey, stage.world.config.schedule
    contract = load_headers(camera.headers, recipe.include)
    primary = primary_header(contract, camera, survey, schedule, exposure, task.ccdid)
    extensions = [quadrant_header(contract, q, exposure) for q in camera.quadrants_of(task.ccdid)]
    spoilt = fault_plans.spoil_frame(frame, task.fault)
    content = write_frame(fault_plans.spoil_header(primary, task.fault), extensions, spoilt)
    content = fault_plans.spoil_bytes(content, task.fault)
    name = str(exposure.raw_name(survey, task.ccdid))
    again = None
    if task.fault in {Fault.DUPLICATE, Fault.CONFLICT}:
        second = content
        if task.fault == Fault.CONFLICT:
            second = write_frame(fault_plans.resent_header(primary), extensions, frame)
        again = _write(spool / f"{name}.again", name, second, exposure, task.ccdid)
    file = _write(spool / name, name, content, exposure, task.ccdid)
    detections = detection_table(camera, stage.instrument.optics, scene)
    # The margin around a CCD reaches onto its neighbours: they write those down themselves.
    mine = pa.array([q.rcid for q in camera.quadrants_of(task.ccdid)], pa.int16())
    return MadeFile(
        file,
        again,
        detections.filter(pc.is_in(detections["rcid"], value_set=mine)),
        artefact_table(camera, list(frame.artefacts)),
        sum(image.size for image in frame.images) / 1e6,
    )


def _write(path: Path, name: str, content: bytes, exposure: Exposure, ccdid: int) -> WrittenFile:
    write_hidden(path, content)
    return WrittenFile(
        expid=exposure.expid,
        ccdid=ccdid,
        imgtypecode=exposure.imgtypecode,
        programid=exposure.programid,
        name=name,
        hidden=path,
        size=len(content),
        sha256=digest(content),
    )
