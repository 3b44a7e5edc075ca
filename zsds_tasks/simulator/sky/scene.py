"""What reaches the camera in one exposure: every kind of object, placed and lit for that instant."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.simulator.configuration import SimulatorConfig
from zsds_tasks.simulator.observing.schedule import Site
from zsds_tasks.simulator.products import Exposure, Kind, Profile, Scene, Sources
from zsds_tasks.simulator.sky.asteroids import Asteroids
from zsds_tasks.simulator.sky.galaxies import Galaxies, galaxy_tile
from zsds_tasks.simulator.sky.light import Shapes, expose
from zsds_tasks.simulator.sky.satellites import trails
from zsds_tasks.simulator.sky.stars import Stars, planted_stars, star_tile
from zsds_tasks.simulator.sky.transients import Events, event_mags, season_events, season_of
from zsds_tasks.simulator.sky.variables import Variability, brightness_changes, variability
from zsds_tasks.sky import ephemeris, healpix, horizon
from zsds_tasks.sky.tangent import deproject, separation_deg
from zsds_tasks.survey.nights import mjd

Floats = NDArray[np.float64]
TILE_REACH = (
    1.75  # a tile reaches at most sqrt(3) sides of a square of its area from its centre (at the poles)
)
TILES_KEPT = 384  # of each kind: all fields of a small camera, or four CCDs of ZTF; 0.2 GB in the plane


@dataclass(frozen=True)
class Region:
    """A rectangle of the camera frame: centre on the sky and in the frame (arcsec), half sizes (arcsec)."""

    centre: tuple[float, float]
    frame_centre: tuple[float, float]
    half_size: tuple[float, float]

    @classmethod
    def of(cls, site: Site, exposure: Exposure, ccdid: int | None) -> Region:
        """Return what one CCD, or all of them, nominally cover."""
        camera = site.camera
        quadrants = camera.quadrants if ccdid is None else camera.quadrants_of(ccdid)
        scale = camera.mosaic.pixel_scale_arcsec / 2
        half = np.array([camera.quadrant.nx * scale, camera.quadrant.ny * scale])
        centres = np.array([(q.centre_east_arcsec, q.centre_north_arcsec) for q in quadrants])
        low, high = centres.min(axis=0) - half, centres.max(axis=0) + half
        centre, size = (low + high) / 2, (high - low) / 2
        boresight = (exposure.boresight_ra, exposure.boresight_dec)
        ra, dec = deproject(centre[0], centre[1], boresight, exposure.rotation_deg)
        return cls(
            (float(ra), float(dec)), (float(centre[0]), float(centre[1])), (float(size[0]), float(size[1]))
        )

    def radius_deg(self, margin_arcsec: float) -> float:
        """Radius of the cone that holds the rectangle and a margin."""
        return math.hypot(*(size + margin_arcsec for size in self.half_size)) / 3600.0

    def holds(self, sources: Sources, margin_arcsec: float | Floats) -> NDArray[np.bool_]:
        """Say which sources lie in the rectangle or the margin around it."""
        east = np.abs(sources.east - self.frame_centre[0]) < self.half_size[0] + margin_arcsec
        north = np.abs(sources.north - self.frame_centre[1]) < self.half_size[1] + margin_arcsec
        return np.asarray(east & north)


@dataclass(frozen=True)
class SceneMaker:
    """Makes the scenes of one night. Small enough to send to workers: tiles are made where they are needed.

    Parameters
    ----------
    bodies : Asteroids
        Those that may be seen in this night, fast ones included.
    """

    site: Site
    config: SimulatorConfig
    seed: int
    bodies: Asteroids

    def scene(self, exposure: Exposure, ccdid: int | None = None) -> Scene:
        """Return what reaches one CCD (or the whole camera) in an exposure; nothing for indoor frames."""
        if not exposure.is_sky:
            return Scene(exposure, Sources.empty(), Sources.empty(), ())
        light, effects = self.config.light, self.config.effects
        region, camera = (Region.of(self.site, exposure, which) for which in (ccdid, None))
        tiles = tiles_in(region.centre, region.radius_deg(light.margin_arcsec), self.config.stars.tile_order)
        faint = Sources.concatenate(
            [self._stars(exposure, tiles), self._galaxies(exposure, tiles), self._events(exposure, tiles)]
        )
        bright = self._bright_stars(exposure, camera)
        moving = self._asteroids(exposure)
        # Half a streak may lie on the pixels of a body whose middle does not.
        half_streak = np.hypot(moving.rate_east, moving.rate_north) * exposure.exptime_s / 2
        near = Sources.concatenate(
            [
                faint.take(region.holds(faint, light.margin_arcsec)),
                bright.take(region.holds(bright, light.bright_margin_arcsec)),
                moving.take(region.holds(moving, light.margin_arcsec + half_streak)),
            ]
        )
        crossing = trails(self.config.satellites, self.seed, self.site.camera, exposure)
        return Scene(
            exposure=exposure,
            sources=near,
            bright=bright.take(bright.mag < light.bright_mag),
            trails=crossing if effects.satellites else (),
        )

    def _stars(self, exposure: Exposure, tiles: Sequence[int]) -> Sources:
        if not self.config.effects.stars:
            return Sources.empty()
        parts = [Sources.empty()]
        for tile in tiles:
            stars, curves = star_field(self.config, self.seed, tile)
            mags = stars.mags
            if self.config.effects.variables and len(curves):
                mags = mags.copy()
                mags[:, curves.row] += brightness_changes(self.config.variables, curves, mjd(exposure.middle))
            sources = self._place_stars(exposure, stars, mags)
            sources.kind[curves.row] = Kind.VARIABLE
            parts.append(sources)
        return Sources.concatenate(parts)

    def _bright_stars(self, exposure: Exposure, camera: Region) -> Sources:
        """Bright and planted stars in the camera's field and a margin."""
        if not self.config.effects.stars:
            return Sources.empty()
        radius = camera.radius_deg(self.config.light.bright_margin_arcsec)
        tiles = tiles_in(camera.centre, radius, self.config.stars.bright_tile_order)
        parts = [bright_field(self.config, self.seed, tile) for tile in tiles]
        parts.append(planted_stars(self.config.stars, self.seed, self.site.camera, self.site.fields))
        stars = Stars.concatenate(parts)
        stars = stars.take(separation_deg(stars.ra, stars.dec, *camera.centre) < radius)
        return self._place_stars(exposure, stars, stars.mags)

    def _place_stars(self, exposure: Exposure, stars: Stars, mags: Floats) -> Sources:
        when, places = mjd(exposure.middle), (stars.ra, stars.dec)
        if self.config.effects.proper_motion:
            places = stars.at(when, horizon.earth(when)[0])
        return self._expose(exposure, stars.object_id, Kind.STAR, places, mags, Shapes.points(len(stars)))

    def _galaxies(self, exposure: Exposure, tiles: Sequence[int]) -> Sources:
        if not self.config.effects.galaxies:
            return Sources.empty()
        galaxies = Galaxies.concatenate([galaxy_field(self.config, self.seed, tile) for tile in tiles])
        still = np.zeros(len(galaxies))
        shapes = Shapes(
            profile=galaxies.profile,
            half_light_arcsec=galaxies.half_light_arcsec,
            axis_ratio=galaxies.axis_ratio,
            angle_deg=galaxies.angle_deg,
            rate_east=still,
            rate_north=still,
        )
        places = (galaxies.ra, galaxies.dec)
        return self._expose(exposure, galaxies.object_id, Kind.GALAXY, places, galaxies.mags, shapes)

    def _events(self, exposure: Exposure, tiles: Sequence[int]) -> Sources:
        if not self.config.effects.transients:
            return Sources.empty()
        when, parts = mjd(exposure.middle), [Sources.empty()]
        season = season_of(self.config.transients, when)
        for tile in tiles:
            # Events of earlier seasons may still shine, the first of the next one may be rising.
            for number in range(season - 4, season + 2):
                events = event_field(self.config, self.seed, tile, number)
                mags = event_mags(self.config.transients, events, when)
                alive = np.isfinite(mags[1]) & (mags[1] < self.config.stars.faint_limit + 1.0)
                if alive.any():
                    parts += self._place_events(exposure, events.take(alive), mags[:, alive])
        return Sources.concatenate(parts)

    def _place_events(self, exposure: Exposure, events: Events, mags: Floats) -> list[Sources]:
        hosted = events.host_id > 0
        sources = self._expose(
            exposure,
            events.object_id,
            Kind.TRANSIENT,
            (events.ra, events.dec),
            mags,
            Shapes.points(len(events)),
        )
        sources.kind[hosted] = Kind.SUPERNOVA
        return [sources]

    def _asteroids(self, exposure: Exposure) -> Sources:
        if not (self.config.effects.asteroids and len(self.bodies)):
            return Sources.empty()
        when = mjd(exposure.middle)
        seen = ephemeris.observe(self.bodies.orbits, when, self.site.observer)
        mags = self.bodies.mags(seen, when)
        count = len(self.bodies)
        shapes = Shapes(
            profile=np.full(count, Profile.POINT, np.int8),
            half_light_arcsec=np.zeros(count),
            axis_ratio=np.ones(count),
            angle_deg=np.zeros(count),
            rate_east=seen.rate_east,
            rate_north=seen.rate_north,
        )
        places = (seen.ra, seen.dec)
        sources = self._expose(exposure, self.bodies.object_id, Kind.ASTEROID, places, mags, shapes)
        return sources.take((mags[1] < self.config.asteroids.faint_limit) & np.isfinite(sources.east))

    def _expose(
        self,
        exposure: Exposure,
        object_id: NDArray[np.int64],
        kind: Kind,
        places: tuple[Floats, Floats],
        mags: Floats,
        shapes: Shapes,
    ) -> Sources:
        config = self.config
        return expose(exposure, config.light, config.effects, object_id, kind, places, mags, shapes)


def tiles_in(centre: tuple[float, float], radius_deg: float, order: int) -> list[int]:
    """Return the HEALPix tiles that touch a cone, in order; perhaps some just beside it."""
    ranges = healpix.cone_ranges(*centre, radius_deg)
    first = healpix.ancestor(ranges[:, 0], order)
    last = healpix.ancestor(ranges[:, 1] - 1, order)
    numbers = np.unique(np.concatenate([np.arange(a, b + 1) for a, b in zip(first, last, strict=True)]))
    size = 1 << (2 * (healpix.INDEX_ORDER - order))
    distance = separation_deg(*healpix.position_of(numbers * size + size // 2), *centre)
    reach = radius_deg + TILE_REACH * healpix.resolution_deg(order)
    return [int(number) for number in numbers[distance < reach]]


@lru_cache(maxsize=TILES_KEPT)
def star_field(config: SimulatorConfig, seed: int, tile: int) -> tuple[Stars, Variability]:
    """Return the stars of a tile and which of them vary; remembered, for neighbours and later exposures."""
    stars, order = star_tile(config.stars, seed, tile), config.stars.tile_order
    area = healpix.resolution_deg(order) ** 2
    return stars, variability(config.variables, seed, order, tile, stars, area)


@lru_cache(maxsize=64)
def bright_field(config: SimulatorConfig, seed: int, tile: int) -> Stars:
    """Return the bright stars of a coarse tile; remembered."""
    return star_tile(config.stars, seed, tile, bright=True)


@lru_cache(maxsize=TILES_KEPT)
def galaxy_field(config: SimulatorConfig, seed: int, tile: int) -> Galaxies:
    """Return the galaxies of a tile; remembered."""
    return galaxy_tile(config.galaxies, seed, config.stars.tile_order, tile)


@lru_cache(maxsize=4096)
def event_field(config: SimulatorConfig, seed: int, tile: int, season: int) -> Events:
    """Return the transients of a tile and season; remembered."""
    galaxies, order = galaxy_field(config, seed, tile), config.stars.tile_order
    return season_events(config.transients, seed, order, tile, season, galaxies)
