"""A small observatory of two science exposures: raw files, masters as planted, catalogues of their field."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse, open_lakehouse
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.acceptance import Verdict
from zsds_tasks.science.calibration.masters import Master
from zsds_tasks.settings import REPOSITORY, Settings
from zsds_tasks.simulator.production import FileTask, Recipe, make_file, set_stage
from zsds_tasks.simulator.sky.census import take_census
from zsds_tasks.simulator.testbed import planted
from zsds_tasks.simulator.truth.reference_catalogs import gaia_table, ps1_table
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.steps import raw
from zsds_tasks.steps.calibration.writing import Label, Office
from zsds_tasks.survey.filenames import CalibrationKind
from zsds_tasks.survey.nights import ObservingNight, mjd

NIGHT = "20251012"
NOW = dt.datetime(2025, 10, 12, 21, 0, tzinfo=dt.UTC)
SEED = 31
EXPOSURES = 3
CATALOG_MARGIN_DEG = 0.3
DIGEST = "0" * 64
VERSION = "0" * 12


@dataclass(frozen=True)
class Observatory:
    """An installation that has taken in its raw files."""

    settings: Settings
    detections: pa.Table

    @property
    def lakehouse(self) -> Lakehouse:
        return open_lakehouse(self.settings)

    @property
    def expids(self) -> list[int]:
        return sorted(set(self.lakehouse.table("raw_exposures").read(["expid"])["expid"].to_pylist()))


@lru_cache(maxsize=1)
def template(
    folder: Path,
    camera: str = "mini",
    science: int = 2,
    workers: int = 1,
    include: Path = REPOSITORY / "include",
    ccdids: tuple[int, ...] | None = None,
) -> Observatory:
    """Make one of the first exposures of its night, all CCDs or some; tests work on copies of it."""
    settings = Settings(var=folder / "var", workers=workers, camera=camera, include=include)
    recipe = Recipe(include, camera, SEED, ObservingNight.parse(NIGHT), max(EXPOSURES, science))
    stage = set_stage(recipe)
    numbers = [n for n, e in enumerate(stage.night.exposures) if e.imgtypecode == "o"][:science]
    detections = []
    for made_folder in (settings.incoming_folder, folder / "spool"):
        made_folder.mkdir(parents=True)
    for number in numbers:
        for ccdid in ccdids or stage.instrument.camera.ccdids:
            made = make_file(recipe, folder / "spool", FileTask(number, ccdid))
            made.file.hidden.rename(settings.incoming_folder / made.file.name)
            detections.append(made.detections)
    lakehouse = open_lakehouse(settings)
    raw.ingest(lakehouse, settings, NOW)
    fids = {stage.night.exposures[n].fid for n in numbers}
    _write_masters(lakehouse, stage, fids, ccdids or stage.instrument.camera.ccdids)
    _write_catalogs(settings, stage, [stage.night.exposures[n] for n in numbers])
    return Observatory(settings, pa.concat_tables(detections))


def copy_of(origin: Observatory, folder: Path) -> Observatory:
    """Return an observatory of its own, equal to another."""
    shutil.copytree(origin.settings.var, folder / "var")
    settings = origin.settings.model_copy(update={"var": folder / "var"})
    return Observatory(settings, origin.detections)


def _write_masters(lakehouse: Lakehouse, stage, fids: set[int], ccdids: tuple[int, ...]) -> None:
    camera, survey = stage.instrument.camera, stage.world.site.survey
    office, rows = Office(lakehouse, camera, survey, VERSION, 7), []
    for quadrant in (one for ccdid in ccdids for one in camera.quadrants_of(ccdid)):
        bias, response, defects = planted(stage.instrument, quadrant)
        label = (ObservingNight.parse(NIGHT), quadrant)
        rows.append(
            office.frame(
                Label(*label, CalibrationKind.BIAS, 0, DIGEST), _master(bias), Verdict(True, "planted")
            )
        )
        for fid in fids:
            flat = Label(*label, CalibrationKind.HIGH_FREQUENCY_FLAT, fid, DIGEST)
            rows.append(office.frame(flat, _master(response), Verdict(True, "planted"), bias_night=NIGHT))
        mask = np.zeros(bias.shape, np.uint16)
        for kind, bit in {"dead": MaskBit.DEAD, "low": MaskBit.LOW_RESPONSE, "high": MaskBit.HIGH_RESPONSE,
                          "hot": MaskBit.NOISY, "blocked column": MaskBit.LOW_RESPONSE}.items():  # fmt: skip
            mask[defects[kind]] |= np.uint16(bit.flag)
        rows.append(
            office.mask(
                Label(*label, CalibrationKind.BAD_PIXELS, 0, DIGEST),
                mask,
                Verdict(True, "planted"),
                bias_night=NIGHT,
            )
        )
    lakehouse.table("master_frames").merge(rows)


def _master(image: np.ndarray) -> Master:
    image = np.ascontiguousarray(image, np.float32)
    return Master(
        image=image, uncertainty=np.full_like(image, 0.001), excess=np.ones_like(image),
        is_constant=np.zeros(image.shape, bool), used=(), rejected=(), level=0.0, frame_noise=1.0,
    )  # fmt: skip


def _write_catalogs(settings: Settings, stage, exposures) -> None:
    world = stage.world
    centres = [(e.boresight_ra, e.boresight_dec) for e in exposures]
    radius = float(np.hypot(*world.site.camera.half_size_arcsec)) / 3600 + CATALOG_MARGIN_DEG
    census = take_census(world.site, world.config, world.seed, centres, mjd(exposures[0].middle))
    for name, table in (("gaia", gaia_table(census, world.seed)), ("ps1", ps1_table(census, world.seed))):
        near = np.zeros(table.num_rows, bool)
        for centre in centres:
            near |= separation_deg(table["ra"].to_numpy(), table["dec"].to_numpy(), *centre) < radius
        write_catalog(name, table.filter(pa.array(near)), f"{settings.catalogs_uri}/{name}", created=NOW)
