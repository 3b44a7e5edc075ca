"""Store the reference catalogues of the simulated sky as HATS collections, for the pipeline to read."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse.catalogs import write_catalog
from zsds_tasks.settings import Settings
from zsds_tasks.simulator.sky.asteroids import population
from zsds_tasks.simulator.sky.census import night_census, night_fields, night_middle
from zsds_tasks.simulator.truth.reference_catalogs import gaia_table, orbit_table, ps1_table
from zsds_tasks.simulator.world import Night

GAIA, PS1, ASTEROIDS = "gaia", "ps1", "asteroids"
MARGIN_ARCSEC = 10.0
DESCRIPTIONS = {
    GAIA: "Gaia-like astrometry of the simulated sky, epoch 2016.0",
    PS1: "Pan-STARRS-like photometry of the simulated sky with star-galaxy scores",
    ASTEROIDS: "Known asteroids of the simulated sky: elements and places at ref_mjd",
}


def write_reference_catalogs(night: Night, folder: Path, settings: Settings | None = None) -> dict[str, str]:
    """Write the catalogues a night needs to ``<folder>/<name>``; right ones already there are left alone.

    Parameters
    ----------
    night : Night
        Its fields decide which part of the sky (a small grid: all of it); its middle dates the asteroids.
    folder : Path
        Local folder of all catalogues.
    settings : Settings, optional

    Returns
    -------
    dict
        Name -> URI of the collection; a catalogue without rows is left out.
    """
    maker = night.maker
    at_rest = _digest(maker.config.digest, maker.seed, maker.site.camera.name, night_fields(night))
    moving = _digest(maker.config.digest, maker.seed, str(night.night))
    digests = {GAIA: at_rest, PS1: at_rest, ASTEROIDS: moving}
    stale = [name for name, digest in digests.items() if _written(folder, name) != digest]
    tables = {}
    if GAIA in stale or PS1 in stale:
        census = night_census(night)
        tables = {GAIA: gaia_table(census, maker.seed), PS1: ps1_table(census, maker.seed)}
    if ASTEROIDS in stale:
        bodies = population(maker.config.asteroids, maker.seed)
        tables[ASTEROIDS] = orbit_table(bodies, night_middle(night), maker.site.observer)
    for name, table in tables.items():
        marker = _marker(folder, name)
        marker.unlink(missing_ok=True)
        fresh = folder / f".{name}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            write_catalog(
                name,
                table,
                str(fresh),
                margin_arcsec=MARGIN_ARCSEC,
                description=DESCRIPTIONS[name],
                created=night.exposures[0].start,
                settings=settings,
            )
        except NothingToDoError:
            continue
        _put(fresh, folder / name)
        marker.write_text(json.dumps({"digest": digests[name], "rows": table.num_rows}), encoding="utf-8")
    return {name: str(folder / name) for name in digests if _marker(folder, name).exists()}


def _put(fresh: Path, place: Path) -> None:
    """Put a whole catalogue in the place of the one before: a night that runs finds no half of one."""
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _marker(folder: Path, name: str) -> Path:
    """Return the file that says a catalogue is whole, and of which world."""
    return folder / f"{name}.json"


def _written(folder: Path, name: str) -> str:
    marker = _marker(folder, name)
    return str(json.loads(marker.read_text(encoding="utf-8"))["digest"]) if marker.exists() else ""


def _digest(*facts: object) -> str:
    return hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
