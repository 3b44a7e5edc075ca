"""Variable stars: some of a tile's stars are given a class, a period and a light curve."""

from __future__ import annotations

import dataclasses
from enum import IntEnum
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.simulator.randomness import generator
from zsds_tasks.simulator.sky.stars import BANDS, Stars

Floats = NDArray[np.float64]
Density = Annotated[float, Field(ge=0)]
REFERENCE_MJD = 58000.0

# Fourier amplitudes of a sawtooth-like RRab: fast rise, slow decline; terms k = 1 to 5, phases in radians.
RR_LYRAE_AMPLITUDES = np.array([1.0, 0.48, 0.34, 0.22, 0.12])
RR_LYRAE_PHASES = np.array([0.0, 0.35, 0.90, 1.45, 2.00])


class VariableClass(IntEnum):
    """Kinds of variable star."""

    ECLIPSING = 1
    RR_LYRAE = 2
    LONG_PERIOD = 3


class VariableKind(Declaration):
    """How many variables of a class there are, which stars they are, and how they vary."""

    per_square_degree: Density
    r_range: tuple[float, float]
    colour_range: tuple[float, float]  # of g-r
    log_period_range: tuple[float, float]  # decimal, days
    amplitude_range: tuple[float, float]  # mag in g, peak to peak (eclipsing: depth of the primary)
    band_factors: dict[str, float]  # amplitude relative to g


class VariablesConfig(Declaration):
    """The three classes."""

    eclipsing: VariableKind
    rr_lyrae: VariableKind
    long_period: VariableKind

    def of(self, which: VariableClass) -> VariableKind:
        """Return the declaration of a class."""
        kinds: dict[VariableClass, VariableKind] = {
            VariableClass.ECLIPSING: self.eclipsing,
            VariableClass.RR_LYRAE: self.rr_lyrae,
            VariableClass.LONG_PERIOD: self.long_period,
        }
        return kinds[which]


@dataclasses.dataclass(frozen=True)
class Variability:
    """Light curves of some stars, as arrays (N).

    Parameters
    ----------
    row : (N) intp
        Rows of the star table.
    kind : (N) int8
        `VariableClass` codes.
    period_days, amplitude_mag, phase : (N) float64
        Amplitude in g; phase (0 to 1) at `REFERENCE_MJD`.
    shape : (N) float64
        Eclipsing: depth of the secondary over the primary; long period: strength of a second wave.
    width : (N) float64
        Eclipsing: full width of an eclipse in phase.
    """

    row: NDArray[np.intp]
    kind: NDArray[np.int8]
    period_days: Floats
    amplitude_mag: Floats
    phase: Floats
    shape: Floats
    width: Floats

    def __len__(self) -> int:
        return len(self.row)

    @classmethod
    def concatenate(cls, parts: list[Variability]) -> Variability:
        """Return all rows of `parts` in order."""
        types: dict[str, type] = {"row": np.intp, "kind": np.int8}
        columns = {}
        for field in dataclasses.fields(cls):
            none: NDArray[np.generic] = np.zeros(0, types.get(field.name, np.float64))
            columns[field.name] = np.concatenate([none, *(getattr(p, field.name) for p in parts)])
        return cls(**columns)


def variability(
    config: VariablesConfig, seed: int, order: int, tile: int, stars: Stars, area_deg2: float
) -> Variability:
    """Choose variables among the stars of one tile."""
    random = generator(seed, "variables", order, tile)
    free = np.ones(len(stars), bool)
    colour, r = stars.mags[0] - stars.mags[1], stars.mags[1]
    rows: list[NDArray[np.intp]] = []
    kinds: list[int] = []
    for which in VariableClass:
        kind = config.of(which)
        fits = free & (r > kind.r_range[0]) & (r < kind.r_range[1])
        fits &= (colour > kind.colour_range[0]) & (colour < kind.colour_range[1])
        candidates = np.flatnonzero(fits)
        count = min(int(random.poisson(kind.per_square_degree * area_deg2)), len(candidates))
        chosen = np.sort(random.choice(candidates, count, replace=False)) if count else candidates[:0]
        free[chosen] = False
        rows.append(chosen)
        kinds += [int(which)] * count
    row = np.concatenate(rows)
    codes = np.array(kinds, np.int8)
    uniform = random.random((5, len(row)))
    low_period, high_period = _ranges(config, codes, "log_period_range")
    low_amplitude, high_amplitude = _ranges(config, codes, "amplitude_range")
    return Variability(
        row=row,
        kind=codes,
        period_days=10 ** (low_period + uniform[0] * (high_period - low_period)),
        amplitude_mag=low_amplitude + uniform[1] * (high_amplitude - low_amplitude),
        phase=uniform[2],
        shape=uniform[3],
        width=0.06 + 0.14 * uniform[4],
    )


def brightness_changes(config: VariablesConfig, curves: Variability, mjd: float) -> Floats:
    """Return what to add to the mean magnitudes at an instant: (4, N) in `stars.BANDS`."""
    phase = (curves.phase + (mjd - REFERENCE_MJD) / curves.period_days) % 1.0
    shape = np.zeros(len(curves))
    for which, function in (
        (VariableClass.ECLIPSING, _eclipsing),
        (VariableClass.RR_LYRAE, _rr_lyrae),
        (VariableClass.LONG_PERIOD, _long_period),
    ):
        rows = curves.kind == which
        shape[rows] = function(phase[rows], curves.shape[rows], curves.width[rows])
    factors = np.ones((len(BANDS), len(curves)))
    for which in VariableClass:
        rows = curves.kind == which
        for index, band in enumerate(BANDS):
            factors[index, rows] = config.of(which).band_factors[band]
    return factors * curves.amplitude_mag * shape


def _eclipsing(phase: Floats, shape: Floats, width: Floats) -> Floats:
    """Two eclipses with smooth flanks: depth 1 at phase 0, `shape` at phase 0.5."""
    primary = np.minimum(phase, 1.0 - phase)
    secondary = np.abs(phase - 0.5)

    def dip(distance: Floats) -> Floats:
        inside = np.clip(distance / (width / 2), 0.0, 1.0)
        return np.asarray((1.0 - inside**2) ** 1.5)

    return dip(primary) + shape * dip(secondary)


def _rr_lyrae(phase: Floats, shape: Floats, width: Floats) -> Floats:
    """Pulsation of type ab about its mean, peak to peak 1; all stars share one template."""
    del shape, width
    return _sawtooth(phase) / _SAWTOOTH_RANGE


def _long_period(phase: Floats, shape: Floats, width: Floats) -> Floats:
    """Return a slow wave with some asymmetry, peak to peak close to 1."""
    del width
    return 0.45 * np.sin(2 * np.pi * phase) + 0.12 * shape * np.sin(4 * np.pi * phase + 0.7)


def _sawtooth(phase: Floats) -> Floats:
    k = np.arange(1, len(RR_LYRAE_AMPLITUDES) + 1)
    angle = 2 * np.pi * np.multiply.outer(phase, k) + RR_LYRAE_PHASES
    return np.asarray(-(RR_LYRAE_AMPLITUDES * np.sin(angle)).sum(axis=-1))


_SAWTOOTH_RANGE = float(np.ptp(_sawtooth(np.linspace(0.0, 1.0, 1000))))


def _ranges(config: VariablesConfig, codes: NDArray[np.int8], name: str) -> tuple[Floats, Floats]:
    limits = np.array([getattr(config.of(VariableClass(int(code))), name) for code in codes]).reshape(-1, 2)
    return limits[:, 0], limits[:, 1]
