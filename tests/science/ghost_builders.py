"""Exposures with planted ghosts and halos, and what a mask should have covered: for tests and benchmarks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from zsds_tasks.products.masks import MaskBit
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.masking.ghost_geometry import PlateMap, find_frame, plate_map
from zsds_tasks.science.masking.ghost_model import GhostModel
from zsds_tasks.science.masking.ghost_stamps import GhostStamp, collect_stamps
from zsds_tasks.science.masking.ghosts import BrightStars, filter_magnitudes, mask_reflections
from zsds_tasks.simulator.instrument.ccd_frame import CcdFrame, expose_ccd
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.instrument.reflections import bright_stars, ghosts
from zsds_tasks.simulator.instrument.render import add_ring
from zsds_tasks.simulator.production import Recipe, Stage, set_stage
from zsds_tasks.simulator.products import Exposure, Sources
from zsds_tasks.simulator.sky.census import Census
from zsds_tasks.simulator.sky.scene import Region, bright_field, tiles_in
from zsds_tasks.simulator.sky.stars import Stars, planted_stars
from zsds_tasks.simulator.testbed import _part, _smooth
from zsds_tasks.simulator.truth.reference_catalogs import gaia_table
from zsds_tasks.sky.tangent import separation_deg
from zsds_tasks.sky.wcs import Wcs, fit_wcs
from zsds_tasks.steps.ghosts.configuration import GhostsConfig
from zsds_tasks.survey.nights import ObservingNight

NIGHT = ObservingNight.parse("20251012")
RING_SOFTNESS_PX = 6.0  # as the simulator draws
RIM_SOFTNESS_PX = 16.0


@lru_cache(maxsize=8)
def stage_of(include: Path, camera: str, seed: int, exposures: int = 60) -> Stage:
    return set_stage(Recipe(include, camera, seed, NIGHT, exposures, ()))


def science_exposures(stage: Stage, filtercode: str) -> list[Exposure]:
    return [e for e in stage.night.exposures if e.imgtypecode == "o" and e.filter.code == filtercode]


@dataclass(frozen=True)
class Field:
    """One exposure: its bright stars as a Gaia-like catalogue tells, and as they are."""

    stage: Stage
    exposure: Exposure
    stars: BrightStars
    truth: Sources
    plates: dict[int, PlateMap] = field(default_factory=dict)
    frames: dict[int, CcdFrame] = field(default_factory=dict)

    @classmethod
    def of(cls, stage: Stage, exposure: Exposure, config: GhostsConfig) -> Field:
        maker = stage.night.maker
        region = Region.of(maker.site, exposure, None)
        radius = region.radius_deg(config.field_margin_arcsec)
        tiles = tiles_in(region.centre, radius, maker.config.stars.bright_tile_order)
        stars = Stars.concatenate(
            [bright_field(maker.config, maker.seed, tile) for tile in tiles]
            + [planted_stars(maker.config.stars, maker.seed, maker.site.camera, maker.site.fields)]
        )
        stars = stars.take(separation_deg(stars.ra, stars.dec, *region.centre) < radius)
        catalog = gaia_table(Census(stars, None, None, None), maker.seed)
        bright = catalog["phot_g_mean_mag"].to_numpy() < config.brighter_than_mag
        ra, dec, g, colour = (
            catalog[name].to_numpy().astype(float)[bright]
            for name in ("ra", "dec", "phot_g_mean_mag", "bp_rp")
        )
        mag = filter_magnitudes(g, colour, config.gaia_colours[exposure.filter.name])
        truth = bright_stars(maker._bright_stars(exposure, region), stage.instrument.config.reflections)
        return cls(stage, exposure, BrightStars(ra, dec, mag), truth)

    @property
    def camera(self):
        return self.stage.instrument.camera

    def wcs(self, rcid: int) -> Wcs:
        quadrant = self.camera.quadrant
        x, y = np.meshgrid(np.linspace(1, quadrant.nx, 12), np.linspace(1, quadrant.ny, 12))
        ra, dec = self.stage.instrument.optics.pixels_to_sky(self.exposure, rcid, x.ravel(), y.ravel())
        centre = ((quadrant.nx + 1) / 2, (quadrant.ny + 1) / 2)
        return fit_wcs(x.ravel(), y.ravel(), ra, dec, crpix=centre, degree=3)

    def plate(self, rcid: int) -> PlateMap:
        if rcid not in self.plates:
            wcs, quadrant = self.wcs(rcid), self.camera.quadrant
            frame = find_frame(wcs, self.camera, rcid)
            self.plates[rcid] = plate_map(wcs, (quadrant.ny, quadrant.nx), frame)
        return self.plates[rcid]

    def gain(self, rcid: int) -> float:
        return self.camera.quadrants[rcid].detector.gain

    def sky(self, rcid: int) -> float:
        """DN per pixel."""
        scale = self.camera.mosaic.pixel_scale_arcsec
        return self.exposure.sky_electrons_per_arcsec2 * scale**2 / self.gain(rcid)

    def sky_noise(self, rcid: int) -> float:
        """DN per pixel."""
        gain, read = self.gain(rcid), self.camera.quadrants[rcid].detector.read_noise
        return float(np.sqrt(self.sky(rcid) * gain + read**2)) / gain

    def zero_point(self, rcid: int) -> float:
        """For DN of this channel: the exposure's holds for the nominal gain."""
        return self.exposure.zero_point + 2.5 * np.log10(self.exposure.nominal_gain / self.gain(rcid))

    def light(self, rcid: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the planted light of ghosts and of halos, DN per pixel."""
        config, optics = self.stage.instrument.config.reflections, self.stage.instrument.optics
        quadrant, scale = self.camera.quadrants[rcid], self.camera.mosaic.pixel_scale_arcsec
        x0, y0 = quadrant_origin(self.camera, quadrant.qid)
        shape = (self.camera.quadrant.ny, self.camera.quadrant.nx)
        rings = ghosts(self.truth, config)
        layers = (
            (rings.east, rings.north, rings.electrons, config.ghost_outer_arcsec, config.ghost_inner_arcsec,
             RING_SOFTNESS_PX),
            (self.truth.east, self.truth.north, self.truth.electrons * config.halo_flux_ratio,
             config.halo_radius_arcsec, 0.0, RIM_SOFTNESS_PX),
        )  # fmt: skip
        images = np.zeros((2, *shape), np.float32)
        for image, (east, north, electrons, outer, inner, softness) in zip(images, layers, strict=True):
            area = np.pi * (outer**2 - inner**2) / scale**2
            column, row = optics.ccd_pixels(self.exposure, quadrant.ccdid, east, north)
            for x, y, light in zip(column - x0 - 1, row - y0 - 1, electrons, strict=True):
                level = light / area / self.gain(rcid)
                add_ring(image, x, y, outer / scale, inner / scale, level, softness)
        return images[0], images[1]

    def exposed(self, rcid: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the calibrated image with all that the sky and the detector do, DN, and its mask."""
        instrument, quadrant = self.stage.instrument, self.camera.quadrants[rcid]
        if quadrant.ccdid not in self.frames:
            scene = self.stage.night.scene(self.exposure, quadrant.ccdid)
            self.frames[quadrant.ccdid] = expose_ccd(instrument, scene, quadrant.ccdid)
        frame = self.frames[quadrant.ccdid]
        k = quadrant.qid - 1
        raw = frame.images[k].astype(np.float32)
        level = fit_overscan(frame.overscans[k], quadrant.amplifier.read_x, OverscanConfig()).level
        ccd, detector = instrument.ccd(quadrant.ccdid), quadrant.detector
        pattern = ccd.bias[k]
        x = raw - level[:, None]
        x /= detector.linearity.a * x * x + detector.linearity.b * x + 1
        x -= pattern.row[:, None] + pattern.column + pattern.glow_row[:, None] * pattern.glow_column
        x /= _part(ccd.response, instrument, quadrant.qid)
        x /= _smooth(instrument, self.exposure, quadrant)
        mask = np.where(raw >= detector.saturation, MaskBit.SATURATED.flag, 0).astype(np.uint16)
        return np.ascontiguousarray(x, np.float32), mask

    def image(self, rcid: int, rng: np.random.Generator) -> np.ndarray:
        """Return sky, ghosts and halos with noise, without sources."""
        ghost, halo = self.light(rcid)
        image = rng.standard_normal(ghost.shape, dtype=np.float32)
        image *= np.float32(self.sky_noise(rcid))
        image += ghost + halo + np.float32(self.sky(rcid))
        return image


@dataclass
class Score:
    """Pixels counted over quadrants: of planted light brighter than the sky noise, and of the mask."""

    pixels: int = 0
    bright: int = 0
    found: int = 0
    masked: int = 0
    dark: int = 0

    def add(self, light: np.ndarray, noise: float, is_masked: np.ndarray) -> None:
        bright = light > noise
        self.pixels += light.size
        self.bright += int(np.count_nonzero(bright))
        self.found += int(np.count_nonzero(bright & is_masked))
        self.masked += int(np.count_nonzero(is_masked))
        self.dark += int(np.count_nonzero(is_masked & (light <= 0)))

    @property
    def completeness(self) -> float:
        """Share of pixels with planted light over 1 sigma of sky that carry the bit; 1 if there are none."""
        return self.found / self.bright if self.bright else 1.0

    @property
    def dark_share(self) -> float:
        """Share of masked pixels without any such light."""
        return self.dark / self.masked if self.masked else 0.0

    @property
    def masked_share(self) -> float:
        """Share of the focal plane that is masked."""
        return self.masked / self.pixels


def score(fields: list[Field], model: GhostModel, config: GhostsConfig) -> tuple[Score, Score, list[float]]:
    """Return the scores of the ghost bit and the halo bit, and the core seconds of each quadrant."""
    ghost_score, halo_score, seconds = Score(), Score(), []
    for shot in fields:
        for rcid in range(shot.camera.n_quadrants):
            plate, noise = shot.plate(rcid), shot.sky_noise(rcid)
            mask = np.zeros(plate.shape, np.uint16)
            start = time.process_time()
            mask_reflections(mask, plate, shot.stars, shot.zero_point(rcid), noise, model, config.masking)
            seconds.append(time.process_time() - start)
            ghost, halo = shot.light(rcid)
            ghost_score.add(ghost, noise, (mask & MaskBit.GHOST.flag) > 0)
            halo_score.add(halo, noise, (mask & MaskBit.HALO.flag) > 0)
    return ghost_score, halo_score, seconds


def gather(
    fields: list[Field], config: GhostsConfig, rng: np.random.Generator, *, with_sources: bool = False
) -> list[GhostStamp]:
    """Return the cut-outs of all quadrants; images are made only where there is something to collect."""
    stamps = []
    for shot in fields:
        for rcid in range(shot.camera.n_quadrants):
            plate = shot.plate(rcid)
            facts = (plate, shot.stars, shot.zero_point(rcid), shot.sky_noise(rcid))
            mask = np.zeros(plate.shape, np.uint16)
            blank = np.zeros(plate.shape, np.float32)
            if not collect_stamps(blank, mask, None, *facts, config.prior, config.stamps):
                continue
            image = shot.image(rcid, rng)
            if with_sources:
                image, mask = shot.exposed(rcid)
            stamps += collect_stamps(image, mask, None, *facts, config.prior, config.stamps)
    return stamps
