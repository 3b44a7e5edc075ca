"""Everything at rest around given directions: for truth tables and for the reference catalogues."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zsds_tasks.simulator.configuration import SimulatorConfig
from zsds_tasks.simulator.galaxies import Galaxies
from zsds_tasks.simulator.scene import SceneMaker, bright_field, event_field, galaxy_field, star_field, tiles_in
from zsds_tasks.simulator.schedule import Site
from zsds_tasks.simulator.stars import Stars, planted_stars
from zsds_tasks.simulator.transients import Events, season_of
from zsds_tasks.simulator.variables import Variability
from zsds_tasks.sky.tangent import separation_deg

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
        Transients are those of the seasons around this instant.
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
    stars = Stars.concatenate([stars for stars, _ in fields] + [_near(b, centres, radius) for b in bright])
    events = [event_field(config, seed, t, n) for t in tiles for n in range(season - 4, season + 2)]
    return Census(
        stars=stars,
        variability=_join(curves),
        galaxies=Galaxies.concatenate([galaxy_field(config, seed, tile) for tile in tiles]),
        events=Events.concatenate(events),
    )


def fields_of(maker: SceneMaker, numbers: Sequence[int]) -> list[tuple[float, float]]:
    """Return the centres of fields; of all fields of a small grid, so that catalogues do not change by night."""
    grid = maker.site.fields
    if len(grid.all_fields) <= maker.config.stars.planted_grid_limit:
        return [(field.ra, field.dec) for field in grid.all_fields]
    return [(grid.by_id[n].ra, grid.by_id[n].dec) for n in sorted(set(numbers)) if n in grid.by_id]


def _near(stars: Stars, centres: Sequence[tuple[float, float]], radius_deg: float) -> Stars:
    near = np.zeros(len(stars), bool)
    for centre in centres:
        near |= separation_deg(stars.ra, stars.dec, *centre) < radius_deg
    return stars.take(near)


def _join(curves: list[Variability]) -> Variability:
    names = [f.name for f in dataclasses.fields(Variability)]
    return Variability(**{n: np.concatenate([getattr(c, n) for c in curves]) for n in names})
