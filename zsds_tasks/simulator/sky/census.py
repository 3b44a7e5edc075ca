"""Everything at rest around given directions: for truth tables and for the reference catalogues."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.simulator.configuration import SimulatorConfig
from zsds_tasks.simulator.observing.schedule import Site
from zsds_tasks.simulator.sky.galaxies import Galaxies
from zsds_tasks.simulator.sky.scene import (
    bright_field,
    event_field,
    galaxy_field,
    star_field,
    tiles_in,
)
from zsds_tasks.simulator.sky.stars import Stars, planted_stars
from zsds_tasks.simulator.sky.transients import Events, event_mags, season_of
from zsds_tasks.simulator.sky.variables import Variability
from zsds_tasks.simulator.world import Night
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.survey.nights import mjd

DITHER_ROOM_DEG = 0.05  # dithers and pointing errors move the camera by less


@dataclass(frozen=True)
class Census:
    """Stars, which of them vary (`variability.row` counts in `stars`), galaxies, and transients."""

    stars: Stars
    variability: Variability
    galaxies: Galaxies
    events: Events


def camera_radius_deg(site: Site) -> float:
    """Return the radius around a field's centre that holds all its exposures."""
    return float(np.hypot(*site.camera.half_size_arcsec)) / 3600.0 + DITHER_ROOM_DEG


def take_census(
    site: Site,
    config: SimulatorConfig,
    seed: int,
    centres: Sequence[tuple[float, float]],
    mjd: float,
) -> Census:
    """Return all objects within a camera's radius of the centres (ra, dec; degrees), in order of tiles.

    Parameters
    ----------
    mjd : float
        Transients are those that shine within half a day of this instant.
    """
    radius = camera_radius_deg(site)
    order, bright_order = config.stars.tile_order, config.stars.bright_tile_order
    tiles = sorted({tile for centre in centres for tile in tiles_in(centre, radius, order)})
    wide = sorted({tile for centre in centres for tile in tiles_in(centre, radius, bright_order)})
    season = season_of(config.transients, mjd)
    fields = [star_field(config, seed, tile) for tile in tiles]
    bright = [bright_field(config, seed, tile) for tile in wide]
    bright.append(planted_stars(config.stars, seed, site.camera, site.fields))
    first, curves = 0, []
    for stars, variability in fields:
        curves.append(dataclasses.replace(variability, row=variability.row + first))
        first += len(stars)
    stars = Stars.concatenate([*(stars for stars, _ in fields), *bright])
    inside = _near(stars, centres, radius)
    galaxies = Galaxies.concatenate([galaxy_field(config, seed, tile) for tile in tiles])
    seasons = range(season - 4, season + 2)
    events = Events.concatenate(
        [Events.empty(), *(event_field(config, seed, t, n) for t in tiles for n in seasons)]
    )
    shining = [np.isfinite(event_mags(config.transients, events, mjd + half)[1]) for half in (-0.5, 0.5)]
    return Census(
        stars=stars.take(inside),
        variability=_keep(Variability.concatenate(curves), inside),
        galaxies=galaxies.take(_near(galaxies, centres, radius)),
        events=events.take(_near(events, centres, radius) & (shining[0] | shining[1])),
    )


def night_census(night: Night) -> Census:
    """Return the census of a night's fields at its middle; a night indoors has an empty one."""
    maker = night.maker
    return take_census(maker.site, maker.config, maker.seed, night_fields(night), night_middle(night))


def night_fields(night: Night) -> list[tuple[float, float]]:
    """Return the centres of a night's fields; a small grid gives all, so that its census stays the same."""
    grid, sky = night.maker.site.fields, [e for e in night.exposures if e.is_sky]
    if sky and len(grid.all_fields) <= night.maker.config.stars.planted_grid_limit:
        return [(field.ra, field.dec) for field in grid.all_fields]
    numbers = sorted({exposure.field for exposure in sky})
    return [(grid.by_id[number].ra, grid.by_id[number].dec) for number in numbers]


def night_middle(night: Night) -> float:
    """Return the MJD between the first and the last exposure."""
    first, last = night.exposures[0].start, night.exposures[-1].start
    return (mjd(first) + mjd(last)) / 2


def _near(
    objects: Stars | Galaxies | Events, centres: Sequence[tuple[float, float]], radius_deg: float
) -> NDArray[np.bool_]:
    near = np.zeros(len(objects), bool)
    for centre in centres:
        near |= separation_deg(objects.ra, objects.dec, *centre) < radius_deg
    return near


def _keep(curves: Variability, kept: NDArray[np.bool_]) -> Variability:
    """Drop the light curves of stars that were left out and renumber the rest."""
    number = np.cumsum(kept) - 1
    names = [f.name for f in dataclasses.fields(Variability)]
    left = kept[curves.row]
    columns = {n: getattr(curves, n)[left] for n in names}
    return Variability(**columns | {"row": number[curves.row[left]]})
