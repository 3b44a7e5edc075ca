"""What a CCD is: response, bad pixels, bias, full well. Fixed by seed and camera, the same every night.

Arrays span a whole CCD as stored images lie: a star on the border of two readout channels is drawn once
and a bleed crosses from one into the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.effects import Effects
from zsds_tasks.simulator.instrument.optics import quadrant_origin
from zsds_tasks.simulator.instrument.render import Image
from zsds_tasks.simulator.products import Floats
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.survey.camera import Camera, Quadrant

Share = Annotated[float, Field(ge=0, le=0.1)]
NotNegative = Annotated[float, Field(ge=0)]


class DetectorConfig(Declaration):
    """Sizes of the detector's imperfections; per-channel gain, noise and linearity come from the camera."""

    prnu_rms: NotNegative = Field(0.007, description="scatter of pixel response")
    qe_wave_amplitude: NotNegative = Field(0.004, description="amplitude of each smooth wave of response")
    qe_waves: Annotated[int, Field(ge=0, le=20)] = 6
    overscan_level_dn: tuple[float, float] = Field((1800.0, 150.0), description="mean and scatter by channel")
    overscan_offset_dn: NotNegative = Field(1.5, description="scatter from exposure to exposure")
    row_drift_dn: NotNegative = Field(2.5, description="size of each Legendre term of the drift along rows")
    deferred_fraction: Share = Field(0.0015, description="of the last column's signal, in the first overscan")
    deferred_columns: Annotated[float, Field(gt=0)] = Field(2.5, description="e-folding of the tail")
    column_pattern_dn: NotNegative = Field(0.8, description="scatter of the fixed bias of columns")
    row_pattern_dn: NotNegative = Field(2.0, description="amplitude of the smooth fixed bias along rows")
    glow_dn: NotNegative = Field(12.0, description="amplifier glow at the corner that is read first")
    glow_px: Annotated[float, Field(gt=0)] = Field(60.0, description="its e-folding")
    full_well_margin: Annotated[float, Field(ge=1, le=1.2)] = Field(
        1.01, description="clipping level over SATURATE: the header is on the safe side"
    )
    dead_share: Share = Field(2e-5, description="of pixels with no response")
    low_share: Share = Field(6e-5, description="of pixels with low response")
    high_share: Share = Field(2e-5, description="of pixels with too much response")
    hot_share: Share = Field(4e-5, description="of pixels with dark current")
    hot_electrons_per_s: Annotated[float, Field(gt=0)] = Field(
        120.0, description="mean of their dark current"
    )
    bad_columns_per_1000: NotNegative = Field(0.8, description="partly blocked columns in 1000")


@dataclass(frozen=True)
class BiasPattern:
    """Fixed bias of one channel, DN: level + row[y] + column[x] + glow_row[y] glow_column[x]."""

    level: float
    row: Floats
    column: Floats
    glow_row: Floats
    glow_column: Floats


@dataclass(frozen=True)
class BadPixels:
    """Defects of one CCD, as arrays; 0-based (row, column) on the CCD.

    `kind` is a place in `BAD_KINDS`; a blocked column starts at (row, column) and goes on away from the
    register to the middle of the CCD. `value` is the response, or electrons per second if hot.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    kind: NDArray[np.int64]
    value: Floats


BAD_KINDS = ("dead", "low", "high", "hot", "blocked column")


@dataclass(frozen=True)
class Ccd:
    """One CCD.

    Parameters
    ----------
    response : (2 ny, 2 nx) float32
        Relative sensitivity of every pixel, defects included.
    bad : BadPixels
        The defects.
    quadrants : tuple of Quadrant
        In order of qid.
    full_well : (2, 2) float64
        Electrons a pixel holds, by (lower or upper rows, left or right columns).
    read_noise : (2, 2) float64
        Electrons, likewise.
    bias : tuple of BiasPattern
        In order of qid.
    """

    response: Image
    bad: BadPixels
    quadrants: tuple[Quadrant, ...]
    full_well: Floats
    read_noise: Floats
    bias: tuple[BiasPattern, ...]


def build_ccd(camera: Camera, config: DetectorConfig, effects: Effects, seed: int, ccdid: int) -> Ccd:
    """Return one CCD of the camera, as `seed` made it."""
    shape = camera.quadrant
    size = (2 * shape.ny, 2 * shape.nx)
    response = np.ones(size, np.float32)
    if effects.prnu:
        generator(seed, "prnu", camera.name, ccdid).standard_normal(dtype=np.float32, out=response)
        response *= np.float32(config.prnu_rms)
        response += np.float32(1)
    bad = bad_pixels(camera, config, seed, ccdid) if effects.bad_pixels else _bad_arrays([])
    for row, column, kind, value in zip(bad.row, bad.column, bad.kind, bad.value, strict=True):
        if kind == 4:
            rows = slice(row, shape.ny) if row < shape.ny else slice(shape.ny, row + 1)
            response[rows, column] *= np.float32(value)
        elif kind != 3:
            response[row, column] = value
    quadrants = camera.quadrants_of(ccdid)
    full_well, read_noise = np.empty((2, 2)), np.empty((2, 2))
    for quadrant in quadrants:
        x0, y0 = quadrant_origin(camera, quadrant.qid)
        place = (int(y0 > 0), int(x0 > 0))
        full_well[place] = full_well_electrons(quadrant, config, is_linear=not effects.nonlinearity)
        read_noise[place] = quadrant.detector.read_noise
    bias = tuple(_bias_pattern(camera, config, effects, seed, quadrant) for quadrant in quadrants)
    return Ccd(response, bad, quadrants, full_well, read_noise, bias)


def full_well_electrons(quadrant: Quadrant, config: DetectorConfig, *, is_linear: bool = False) -> float:
    """Electrons that read as the margin times SATURATE, after the channel's non-linearity."""
    detector = quadrant.detector
    dn = detector.saturation * config.full_well_margin
    a, b = (0.0, 0.0) if is_linear else (detector.linearity.a, detector.linearity.b)
    return detector.gain * dn / (a * dn * dn + b * dn + 1)


def bad_pixels(camera: Camera, config: DetectorConfig, seed: int, ccdid: int) -> BadPixels:
    """Return the defects of one CCD."""
    rng = generator(seed, "bad pixels", camera.name, ccdid)
    ny, nx = 2 * camera.quadrant.ny, 2 * camera.quadrant.nx
    parts = []
    low_high = {0: (0.0, 0.05), 1: (0.2, 0.55), 2: (1.45, 2.0)}
    shares = (config.dead_share, config.low_share, config.high_share, config.hot_share)
    for kind, share in enumerate(shares):
        n = rng.poisson(share * ny * nx)
        rows, columns = rng.integers(0, ny, n), rng.integers(0, nx, n)
        values = (
            rng.exponential(config.hot_electrons_per_s, n) + 10
            if kind == 3
            else rng.uniform(*low_high[kind], n)
        )
        parts.append((rows, columns, np.full(n, kind), values))
    n = rng.poisson(config.bad_columns_per_1000 * nx / 1000)
    # What lies between the block and the middle of the CCD cannot be read through it.
    parts.append((rng.integers(0, ny, n), rng.integers(0, nx, n), np.full(n, 4), rng.uniform(0.0, 0.4, n)))
    return _bad_arrays(parts)


def _bad_arrays(
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], Floats]],
) -> BadPixels:
    if not parts:
        none = np.zeros(0, np.int64)
        return BadPixels(none, none, none, np.zeros(0))
    row, column, kind, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return BadPixels(row, column, kind, value)


def _bias_pattern(
    camera: Camera, config: DetectorConfig, effects: Effects, seed: int, quadrant: Quadrant
) -> BiasPattern:
    rng = generator(seed, "bias", camera.name, quadrant.rcid)
    ny, nx = camera.quadrant.ny, camera.quadrant.nx
    level = config.overscan_level_dn[0] + config.overscan_level_dn[1] * float(rng.standard_normal())
    column = config.column_pattern_dn * rng.standard_normal(nx)
    t = np.linspace(0, 1, ny)
    row = config.row_pattern_dn * (np.exp(-t / 0.08) + 0.3 * np.sin(2 * np.pi * (t + rng.random())))
    glow_row = config.glow_dn * np.exp(-np.arange(ny) / config.glow_px)
    glow_column = np.exp(-np.arange(nx) / config.glow_px)
    if not effects.bias_structure:
        row, column, glow_row, glow_column = (0 * a for a in (row, column, glow_row, glow_column))
    # All of it in the order of reading: mirrored where the channel is stored mirrored.
    y, x = quadrant.amplifier.read_y, quadrant.amplifier.read_x
    return BiasPattern(
        level, row[::y].copy(), column[::x].copy(), glow_row[::y].copy(), glow_column[::x].copy()
    )
