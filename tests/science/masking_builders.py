"""Simulated channels calibrated with what was planted, and scenes with trails of one's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation

from zsds_tasks.pixels.background import BackgroundConfig, measure_background
from zsds_tasks.pixels.mesh import Mesh, mesh_shape
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.calibration.badpixels import BadPixelConfig, flag_bad_pixels
from zsds_tasks.science.calibration.masters import (
    BiasConfig,
    ChannelFacts,
    FlatConfig,
    Readout,
    build_bias,
    build_flat,
)
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.calibration.reduce import ReadoutFacts, ReduceConfig, ReduceStats, reduce_quadrant
from zsds_tasks.settings import REPOSITORY
from zsds_tasks.simulator.configuration import load_simulator
from zsds_tasks.simulator.instrument import render
from zsds_tasks.simulator.instrument.ccd_frame import expose_ccd
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.products import Trail
from zsds_tasks.simulator.testbed import ExposedQuadrant, expose_quadrant

DEFECT_BITS = {
    "dead": MaskBit.DEAD,
    "low": MaskBit.LOW_RESPONSE,
    "high": MaskBit.HIGH_RESPONSE,
    "hot": MaskBit.NOISY,
    "blocked column": MaskBit.LOW_RESPONSE,
}
SQUARE = np.ones((3, 3), bool)


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A channel, background subtracted, with its static mask and the bit of saturated counts."""

    image: np.ndarray
    mask: np.ndarray
    noise: Mesh
    facts: ReadoutFacts
    stats: ReduceStats

    @property
    def sigma(self) -> float:
        """Typical noise of blank sky, DN."""
        return float(np.median(self.noise.values))


def static_mask(q: ExposedQuadrant) -> np.ndarray:
    mask = np.zeros(q.raw.shape, np.uint16)
    for kind, where in q.defects.items():
        mask[where] |= np.uint16(DEFECT_BITS[kind].flag)
    return mask


def smooth_mesh(smooth: np.ndarray, cell: int = 64) -> Mesh:
    """The planted smooth throughput, sampled at the middles of cells."""
    (ny, nx), (my, mx) = smooth.shape, mesh_shape(smooth.shape, cell)
    y = np.minimum(np.arange(my) * cell + cell // 2, ny - 1)
    x = np.minimum(np.arange(mx) * cell + cell // 2, nx - 1)
    return Mesh(np.ascontiguousarray(smooth[np.ix_(y, x)]), cell, smooth.shape)


def calibrate(
    q: ExposedQuadrant,
    raw: np.ndarray | None = None,
    masters: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
) -> Calibrated:
    """Calibrate a channel with bias, response and static mask: those planted, or `masters`."""
    bias, flat, static = (q.bias, q.response, static_mask(q)) if masters is None else masters
    detector = q.quadrant.detector
    facts = ReadoutFacts(detector.gain, detector.saturation, (detector.linearity.a, detector.linearity.b))
    image, mask = np.empty(q.raw.shape, np.float32), np.empty(q.raw.shape, np.uint16)
    stats = reduce_quadrant(
        q.raw if raw is None else raw,
        fit_overscan(q.overscan, q.quadrant.amplifier.read_x, OverscanConfig()).level,
        facts,
        bias=bias,
        flat=flat,
        smooth=smooth_mesh(q.smooth),
        static_mask=static,
        out_image=image,
        out_mask=mask,
        config=ReduceConfig(),
    )
    background = measure_background(image, mask, UNUSABLE, BackgroundConfig())
    background.level.add_to(image, -1.0)
    return Calibrated(image, mask, background.noise, facts, stats)


def planted_counts(include: Path, effect: str, **what) -> tuple[ExposedQuadrant, np.ndarray]:
    """A channel, and the counts that one effect adds to it: the same exposure without it is subtracted."""
    without = tuple(what.pop("without", ()))
    q = expose_quadrant(include, without=without, **what)
    clean = expose_quadrant(include, without=(*without, effect), **what)
    return q, q.raw.astype(np.int32) - clean.raw.astype(np.int32)


def full_wells(q: ExposedQuadrant) -> np.ndarray:
    """Where truth says that a pixel is full: bleeds run along columns."""
    full = np.zeros(q.raw.shape, bool)
    for row in q.artefacts.to_pylist():
        if row["kind"] == "bleed" and 1 <= row["x"] <= full.shape[1]:
            first, last = max(int(row["y"]), 1), max(int(row["y_end"]), 0)
            full[first - 1 : last, int(row["x"]) - 1] = True
    return full


def grown(where: np.ndarray, times: int = 1) -> np.ndarray:
    return binary_dilation(where, SQUARE, iterations=times) if times else where


@dataclasses.dataclass(frozen=True)
class Streak:
    """A trail in pixels of a channel (0-based), with the height of its profile over the sky in sigmas."""

    ends: tuple[float, float, float, float]
    peak_sigmas: float
    width_arcsec: float = 0.5
    modulation: float = 0.0
    period_px: float = 0.0


def with_trails(
    q: ExposedQuadrant, streaks: list[Streak], sigma: float
) -> tuple[np.ndarray, tuple[Trail, ...]]:
    """Expose the scene of a channel again, with trails in it; return raw counts and the trails."""
    quadrant = q.quadrant
    x0, y0 = quadrant_origin(q.instrument.camera, quadrant.qid)
    optics, scale = q.instrument.optics, q.instrument.camera.mosaic.pixel_scale_arcsec
    trails = []
    for number, s in enumerate(streaks):
        column, row = np.array([s.ends[0], s.ends[2]]) + 1 + x0, np.array([s.ends[1], s.ends[3]]) + 1 + y0
        east, north = optics.camera_frame_of_ccd(q.exposure, quadrant.ccdid, column, row)
        fwhm = np.hypot(q.exposure.seeing_fwhm_arcsec, s.width_arcsec) / scale
        # A Gaussian of that FWHM; the true profile has wider wings, so that its peak is somewhat lower.
        per_px = s.peak_sigmas * sigma * quadrant.detector.gain * fwhm * 1.0645
        trails.append(
            Trail(
                number,
                *(float(v) for v in (east[0], north[0], east[1], north[1])),
                electrons_per_arcsec=float(per_px / scale),
                width_arcsec=s.width_arcsec,
                period_arcsec=s.period_px * scale,
                modulation=s.modulation,
            )
        )
    scene = q.stage.night.scene(q.exposure, quadrant.ccdid)
    scene = dataclasses.replace(scene, trails=tuple(trails))
    return expose_ccd(q.instrument, scene, quadrant.ccdid).images[quadrant.qid - 1], tuple(trails)


def along(shape: tuple[int, int], ends: tuple[float, float, float, float], half_width: float) -> np.ndarray:
    """Where pixels lie within a distance of a segment; 0-based ends."""
    x0, y0, x1, y1 = ends
    length = np.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    y, x = np.mgrid[: shape[0], : shape[1]]
    t = (x - x0) * ux + (y - y0) * uy
    return (np.abs((y - y0) * ux - (x - x0) * uy) <= half_width) & (t >= 0) & (t <= length)


def draw_track(
    c: Calibrated, ends: np.ndarray, peak: float, fwhm: float, width: float, rng: np.random.Generator
) -> tuple[Calibrated, np.ndarray]:
    """Draw a track with noise into a copy of an image; `peak` in sigmas, `width` its own FWHM in px."""
    core = load_simulator(REPOSITORY / "include").instrument.psf.core
    weight = np.array(core.weights)
    variance = np.array(core.variances) * fwhm**2 + (width / 2.3548) ** 2
    per_px = peak * c.sigma / float((weight / np.sqrt(2 * np.pi * variance)).sum())
    layer = np.zeros_like(c.image)
    tumbles = np.array([per_px, rng.choice([0.0, 0.0, 0.6]), rng.uniform(60, 2000)])
    render.add_trail(layer, np.array(ends), weight, variance, tumbles, 0.02 * c.sigma)
    noise = np.sqrt(layer / c.facts.gain) * rng.standard_normal(layer.shape, dtype=np.float32)
    return dataclasses.replace(c, image=c.image + layer + noise, mask=c.mask.copy()), layer > 0.3 * c.sigma


def random_chord(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Ends of a line that has at least 500 px inside an image."""
    ny, nx = shape
    while True:
        angle, offset = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5) * np.hypot(nx, ny)
        a, b = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        middle = np.array([nx / 2, ny / 2]) + offset * b
        ends = np.concatenate([middle + side * 2 * max(shape) * a for side in (-1, 1)])
        t = np.linspace(0, 1, 4000)
        x, y = ends[0] + t * (ends[2] - ends[0]), ends[1] + t * (ends[3] - ends[1])
        inside = ((x > 0) & (y > 0) & (x < nx) & (y < ny)).mean() * 4 * max(shape)
        if inside > 500:
            return ends


def masters_of(q: ExposedQuadrant, count: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bias, flat and static mask from biases and flats of the night, built as the pipeline does."""
    detector, quadrant = q.quadrant.detector, q.quadrant
    channel = ChannelFacts(
        quadrant.amplifier.read_x,
        detector.gain,
        detector.saturation,
        (detector.linearity.a, detector.linearity.b),
    )
    found = {"b": [], "f": []}
    for exposure in q.stage.night.exposures:
        kind = found.get(exposure.imgtypecode)
        is_wanted = exposure.imgtypecode == "b" or exposure.filter == q.exposure.filter
        if kind is None or len(kind) == count or not is_wanted:
            continue
        frame = expose_ccd(q.instrument, q.stage.night.scene(exposure, quadrant.ccdid), quadrant.ccdid)
        of = quadrant.qid - 1
        kind.append(Readout(str(exposure.expid), frame.images[of], frame.overscans[of], exposure.led or 0))
    bias = build_bias(found["b"], channel, OverscanConfig(), BiasConfig())
    flat = build_flat(found["f"], channel, bias.image, OverscanConfig(), FlatConfig())
    return bias.image, flat.image, flag_bad_pixels(bias, [flat], BadPixelConfig())
