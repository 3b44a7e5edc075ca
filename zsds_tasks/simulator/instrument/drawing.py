"""The light that falls on one CCD in one exposure: sharp light is drawn, smooth light given at nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from zsds_tasks.simulator.instrument import render, throughput
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.instrument.psf import (
    FWHM_OF_SIGMA,
    SMALLEST_SIGMA_PX,
    galaxy_shapes,
    pixel_variance,
    psf_shapes,
)
from zsds_tasks.simulator.instrument.readout import GRID_STEP
from zsds_tasks.simulator.instrument.reflections import bright_stars, ghosts
from zsds_tasks.simulator.instrument.render import Image
from zsds_tasks.simulator.products import Floats, Profile, Scene, Sources, Trail
from zsds_tasks.simulator.truth.artefacts import Artefact

MARGIN_PX = 512  # sources this far beside the CCD still send scattered light onto it
DRAWN_MARGIN_PX = 100
EDGE_OF_NOISE = 0.02  # a profile is drawn out to this share of the sky noise
STREAK_STEP_PX = 0.4
RING_SOFTNESS_PX = 6.0


@dataclass(frozen=True)
class CcdLight:
    """Expected light on one CCD.

    Parameters
    ----------
    drawn : (2 ny, 2 nx) float32
        Electrons of everything with structure.
    smooth, throughput : (nodes, nodes) float32
        Electrons per pixel of smooth light, and relative throughput, at the nodes.
    artefacts : tuple of Artefact
        Ghosts, halos and trails that touch the CCD.
    """

    drawn: Image
    smooth: Image
    throughput: Image
    artefacts: tuple[Artefact, ...]


def draw_light(instrument: Instrument, scene: Scene, ccdid: int) -> CcdLight:
    """Return the light of a scene on one CCD."""
    camera, exposure = instrument.camera, scene.exposure
    drawn = np.zeros((2 * camera.quadrant.ny, 2 * camera.quadrant.nx), np.float32)
    place = throughput.node_places(instrument, exposure, ccdid)
    smooth = np.zeros(throughput.node_counts(camera))
    artefacts: list[Artefact] = []
    if exposure.led is not None:
        smooth += throughput.screen(instrument, exposure, place)
    if exposure.is_sky:
        smooth += throughput.sky(instrument, exposure, place)
        threshold = EDGE_OF_NOISE * float(np.sqrt(smooth.mean() + camera.detector.read_noise**2))
        near, x, y = _near(instrument, scene, ccdid)
        smooth += scattered_light(instrument, near, x, y)
        _draw_sources(instrument, scene, drawn, near, (x, y), threshold)
        if instrument.effects.ghosts:
            artefacts += _draw_halos(instrument, scene, ccdid, smooth)
            artefacts += _draw_ghosts(instrument, scene, ccdid, drawn)
        for trail in scene.trails:
            artefacts += _draw_trail(instrument, scene, ccdid, trail, drawn, threshold)
    factor = throughput.throughput(instrument, exposure, ccdid, place)
    return CcdLight(drawn, smooth.astype(np.float32), factor.astype(np.float32), tuple(artefacts))


def _near(instrument: Instrument, scene: Scene, ccdid: int) -> tuple[Sources, Floats, Floats]:
    """Return the sources on and around the CCD, with 0-based (column, row)."""
    height, width = 2 * instrument.camera.quadrant.ny, 2 * instrument.camera.quadrant.nx
    sources = scene.sources
    column, row = instrument.optics.ccd_pixels(scene.exposure, ccdid, sources.east, sources.north)
    x, y = column - 1, row - 1
    rows = np.flatnonzero(
        (x > -MARGIN_PX) & (x < width + MARGIN_PX) & (y > -MARGIN_PX) & (y < height + MARGIN_PX)
    )
    return sources.take(rows), x[rows], y[rows]


def _draw_sources(
    instrument: Instrument,
    scene: Scene,
    drawn: Image,
    sources: Sources,
    position: tuple[Floats, Floats],
    threshold: float,
) -> None:
    config, (x, y), (height, width) = instrument.config.psf, position, drawn.shape
    # A streak may start beside the CCD and end on it.
    reach = DRAWN_MARGIN_PX + np.hypot(sources.rate_east, sources.rate_north) * scene.exposure.exptime_s
    keep = np.flatnonzero((x > -reach) & (x < width + reach) & (y > -reach) & (y < height + reach))
    sources = sources.take(keep)
    table = _source_table(instrument, scene, sources, x[keep], y[keep])
    is_point = sources.profile == Profile.POINT
    is_moving = is_point & ((sources.rate_east != 0) | (sources.rate_north != 0))
    points = np.concatenate(
        [table[is_point & ~is_moving], _streaks(instrument, scene, sources, table, is_moving)]
    )
    discs = table[sources.profile == Profile.EXPONENTIAL]
    bulges = table[sources.profile == Profile.DE_VAUCOULEURS]
    for rows, weights, variances in (
        (points, np.ones(1), np.zeros(1)),
        (discs, config.exponential.weights, config.exponential.variances),
        (bulges, config.de_vaucouleurs.weights, config.de_vaucouleurs.variances),
    ):
        render.add_sources(
            drawn,
            np.ascontiguousarray(rows),
            config.core.weights,
            config.core.variances,
            weights,
            variances,
            pixel_variance(config),
            SMALLEST_SIGMA_PX**2,
            threshold,
        )


def _source_table(instrument: Instrument, scene: Scene, sources: Sources, x: Floats, y: Floats) -> Floats:
    """Rows for `render.add_sources`."""
    config = instrument.config.psf
    psf = psf_shapes(
        scene.exposure,
        instrument.camera,
        config,
        (sources.east, sources.north),
        is_variable=instrument.effects.psf_variation,
    )
    own = galaxy_shapes(instrument.camera, sources.half_light_arcsec, sources.axis_ratio, sources.angle_deg)
    flux = sources.electrons * (1 - config.aureole_fraction)
    return np.column_stack([x, y, flux, psf.xx, psf.xy, psf.yy, own.xx, own.xy, own.yy])


def _streaks(
    instrument: Instrument, scene: Scene, sources: Sources, table: Floats, is_moving: NDArray[np.bool_]
) -> Floats:
    """Rows of moving points: each is drawn as points along its path, under half a pixel apart."""
    (sign_x, sign_y), scale = instrument.camera.axis_signs, instrument.camera.mosaic.pixel_scale_arcsec
    parts = [np.zeros((0, table.shape[1]))]
    for i in np.flatnonzero(is_moving):
        dx = sign_x * sources.rate_east[i] * scene.exposure.exptime_s / scale
        dy = sign_y * sources.rate_north[i] * scene.exposure.exptime_s / scale
        n = int(np.ceil(np.hypot(dx, dy) / STREAK_STEP_PX)) + 1
        part = np.repeat(table[i : i + 1], n, axis=0)
        along = (np.arange(n) + 0.5) / n - 0.5
        part[:, 0] += along * dx
        part[:, 1] += along * dy
        part[:, 2] /= n
        parts.append(part)
    return np.concatenate(parts)


def scattered_light(instrument: Instrument, sources: Sources, x: Floats, y: Floats) -> Floats:
    """Aureole of all sources, electrons per pixel at the nodes: flux is put on the nodes, then blurred."""
    config, camera = instrument.config.psf, instrument.camera
    rows, columns = throughput.node_counts(camera)
    pad = MARGIN_PX // GRID_STEP
    grid = np.zeros((rows + 2 * pad + 1, columns + 2 * pad + 1))
    gx, gy = x / GRID_STEP + pad, y / GRID_STEP + pad
    ix, iy = np.floor(gx).astype(np.int64), np.floor(gy).astype(np.int64)
    fx, fy = gx - ix, gy - iy
    inside = (ix >= 0) & (iy >= 0) & (ix < grid.shape[1] - 1) & (iy < grid.shape[0] - 1)
    flux = np.where(inside, sources.electrons * config.aureole_fraction / GRID_STEP**2, 0.0)
    ix, iy = np.where(inside, ix, 0), np.where(inside, iy, 0)
    np.add.at(grid, (iy, ix), flux * (1 - fx) * (1 - fy))
    np.add.at(grid, (iy, ix + 1), flux * fx * (1 - fy))
    np.add.at(grid, (iy + 1, ix), flux * (1 - fx) * fy)
    np.add.at(grid, (iy + 1, ix + 1), flux * fx * fy)
    scattered = np.zeros_like(grid)
    for weight, sigma in zip(config.aureole.weight, config.aureole.sigma, strict=True):
        nodes = sigma / camera.mosaic.pixel_scale_arcsec / GRID_STEP
        scattered += weight * gaussian_filter(grid, nodes, mode="constant", truncate=5.0)
    return scattered[pad : pad + rows, pad : pad + columns]


def _draw_halos(instrument: Instrument, scene: Scene, ccdid: int, smooth: Floats) -> list[Artefact]:
    """Add the halos of bright stars to the smooth light; on the nodes, whose spacing softens the rim."""
    config, camera, expid = instrument.config.reflections, instrument.camera, scene.exposure.expid
    stars = bright_stars(scene.bright, config)
    column, row = instrument.optics.ccd_pixels(scene.exposure, ccdid, stars.east, stars.north)
    radius = config.halo_radius_arcsec / camera.mosaic.pixel_scale_arcsec
    layer = np.zeros(smooth.shape, np.float32)
    found = []
    for i in range(len(stars)):
        flux = float(stars.electrons[i]) * config.halo_flux_ratio
        halo = Artefact.around(camera, expid, ccdid, "halo", (column[i], row[i]), radius, flux)
        if halo:
            level = flux / (np.pi * radius**2)
            x, y = (column[i] - 1) / GRID_STEP, (row[i] - 1) / GRID_STEP
            render.add_ring(layer, x, y, radius / GRID_STEP, 0.0, level, 2.0)
            found.append(halo.of(int(stars.object_id[i])))
    smooth += layer
    return found


def _draw_ghosts(instrument: Instrument, scene: Scene, ccdid: int, drawn: Image) -> list[Artefact]:
    config, camera, expid = instrument.config.reflections, instrument.camera, scene.exposure.expid
    rings = ghosts(bright_stars(scene.bright, config), config)
    column, row = instrument.optics.ccd_pixels(scene.exposure, ccdid, rings.east, rings.north)
    scale = camera.mosaic.pixel_scale_arcsec
    outer, inner = config.ghost_outer_arcsec / scale, config.ghost_inner_arcsec / scale
    found = []
    for i in range(len(rings.object_id)):
        flux = float(rings.electrons[i])
        ghost = Artefact.around(camera, expid, ccdid, "ghost", (column[i], row[i]), outer, flux)
        if ghost:
            level = flux / (np.pi * (outer**2 - inner**2))
            render.add_ring(drawn, column[i] - 1, row[i] - 1, outer, inner, level, RING_SOFTNESS_PX)
            found.append(ghost.of(int(rings.object_id[i])))
    return found


def _draw_trail(
    instrument: Instrument, scene: Scene, ccdid: int, trail: Trail, drawn: Image, threshold: float
) -> list[Artefact]:
    camera, config = instrument.camera, instrument.config.psf
    scale = camera.mosaic.pixel_scale_arcsec
    ends = (np.array([trail.east0, trail.east1]), np.array([trail.north0, trail.north1]))
    column, row = instrument.optics.ccd_pixels(scene.exposure, ccdid, *ends)
    shape = psf_shapes(scene.exposure, camera, config, (0.0, 0.0))
    variance = (
        config.core.variances * float(shape.xx + shape.yy) / 2
        + pixel_variance(config)
        + (trail.width_arcsec / scale / FWHM_OF_SIGMA) ** 2
    )
    before = float(drawn.sum(dtype=np.float64))
    render.add_trail(
        drawn,
        np.array([column[0], row[0], column[1], row[1]]) - 1.0,
        config.core.weights,
        variance,
        np.array([trail.electrons_per_arcsec * scale, trail.modulation, trail.period_arcsec / scale]),
        threshold,
    )
    electrons = float(drawn.sum(dtype=np.float64)) - before
    width = FWHM_OF_SIGMA * float(np.sqrt(variance[0]))
    line = ((float(column[0]), float(row[0])), (float(column[1]), float(row[1])))
    return Artefact.along(
        camera, scene.exposure.expid, ccdid, "trail", line, width, electrons, trail.object_id
    )
