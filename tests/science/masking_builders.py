"""Simulated channels calibrated with what was planted, and scenes with trails of one's own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from scipy.ndimage import binary_dilation

from zsds_tasks.pixels.background import BackgroundConfig, measure_background
from zsds_tasks.pixels.mesh import Mesh, mesh_shape
from zsds_tasks.products.masks import UNUSABLE, MaskBit
from zsds_tasks.science.calibration.overscan import OverscanConfig, fit_overscan
from zsds_tasks.science.calibration.reduce import ReadoutFacts, ReduceConfig, ReduceStats, reduce_quadrant
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
