"""Units and surveys whose stars, clouds and errors are known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from zsds_tasks.science.relative.epochs import UnitEpochs
from zsds_tasks.science.relative.survey import SurveyObservations

SHAPE = (3080, 3072)


@dataclass(frozen=True)
class PlantedUnit:
    """What a unit is like; magnitudes."""

    stars: int = 800
    images: int = 60
    bright: float = 13.5
    faint: float = 20.8
    limit: float = 20.6  # of detection in the usual image
    zero_sigma: float = 0.015  # of the images' zero points
    floor: float = 0.006  # scatter of bright stars beyond photons
    error_factor: float = 1.0  # formal errors are too small by this
    variables: float = 0.08
    flagged: float = 0.01
    outliers: float = 0.005  # epochs off by up to a magnitude
    saturated: float = 0.0  # brighter stars are off by up to 0.2 mag, by image
    gradients: float = 0.1  # share of images with a smooth cloud of 0.02 to 0.2 mag across
    clouds: float = 0.0  # share of images with a structured cloud of 0.1 mag
    seen: float = 0.95


@dataclass(frozen=True)
class UnitTruth:
    """What was planted: by image, by star, and by epoch."""

    zero: np.ndarray
    gradient: np.ndarray
    cloudy: np.ndarray
    structured: np.ndarray
    mag: np.ndarray
    variable: np.ndarray
    sigma: np.ndarray  # of each epoch, all of it
    off: np.ndarray  # epochs that are wrong


def photon_error(mag, seeing=1.0):
    """Formal error of a star: photons and sky."""
    flux = 10 ** (-0.4 * (mag - 26.0))
    return 1.0857 * np.sqrt(flux / 6.0 + (60.0 * seeing) ** 2) / flux


def make_unit(seed, unit=None, **changes):
    """Draw a unit."""
    unit = unit or PlantedUnit(**changes)
    random = np.random.default_rng(seed)
    n, k = unit.stars, unit.images
    share = random.uniform(size=n)
    slope = 0.3
    top = 10 ** (slope * (unit.faint - unit.bright)) - 1
    mag = unit.bright + np.log10(1 + share * top) / slope
    place = random.uniform(0.5, 3072.5, (2, n))
    variable = random.uniform(size=n) < unit.variables
    seeing = random.lognormal(0.0, 0.15, k)
    zero = random.normal(0.0, unit.zero_sigma, k)
    cloudy = random.uniform(size=k) < unit.gradients
    gradient = np.where(cloudy, random.uniform(0.02, 0.2, k), 0.0)
    angle = random.uniform(0, 2 * np.pi, k)
    structured = random.uniform(size=k) < unit.clouds
    zero = zero + np.where(cloudy | structured, random.uniform(0, 0.3, k), 0.0)
    amplitude = np.where(variable, random.uniform(0.05, 0.6, n), 0.0)
    star, image = (grid.ravel() for grid in np.meshgrid(np.arange(n), np.arange(k), indexing="ij"))
    x, y = place[0][star] + random.normal(0, 3, len(star)), place[1][star] + random.normal(0, 3, len(star))
    u, v = (x - 1536.5) / 1536, (y - 1540.5) / 1540
    true = mag[star] + amplitude[star] * np.sin(2 * np.pi * (random.uniform(size=n)[star] + 0.37 * image))
    term = gradient[image] / 2 * (np.cos(angle[image]) * u + np.sin(angle[image]) * v)
    phase = random.uniform(0, 2 * np.pi, (2, k))
    term += np.where(structured, 0.1, 0.0)[image] * (
        np.sin(7 * u + phase[0][image]) * np.sin(9 * v + phase[1][image])
    )
    bright = mag < unit.saturated
    term += np.where(bright[star], (random.uniform(-0.2, 0.2, k))[image], 0.0)
    formal = photon_error(true, seeing[image])
    sigma = np.hypot(unit.error_factor * formal, unit.floor)
    measured = true + zero[image] + term + sigma * random.normal(size=len(star))
    off = random.uniform(size=len(star)) < unit.outliers
    measured[off] += random.uniform(-1.0, 1.0, np.count_nonzero(off))
    flags = np.where(random.uniform(size=len(star)) < unit.flagged, 256, 0)
    keep = (random.uniform(size=len(star)) < unit.seen) & (true + zero[image] < unit.limit)
    epochs = UnitEpochs(
        seed=star[keep], image=image[keep], mag=measured[keep], magerr=formal[keep], x=x[keep], y=y[keep],
        flags=flags[keep], n_seeds=n, n_images=k, shape=SHAPE,
    )  # fmt: skip
    return epochs, UnitTruth(zero, gradient, cloudy, structured, mag, variable, sigma[keep], off[keep])


def shuffled(epochs, random):
    """Return the same epochs in another order."""
    order = random.permutation(len(epochs))
    names = ("seed", "image", "mag", "magerr", "x", "y", "flags")
    return replace(epochs, **{name: getattr(epochs, name)[order] for name in names})


@dataclass(frozen=True)
class PlantedSurvey:
    """A flat sky of square fields, each of quadrants x quadrants; magnitudes and degrees."""

    fields: int = 4  # along each side
    quadrants: int = 2  # along each side of a field
    size: float = 1.0  # of a field
    step: float = 0.95  # between fields: less than the size where they overlap
    visits: int = 4
    dither: float = 0.0
    second_grid: bool = False  # another grid, half a field away, as often visited
    density: float = 300.0  # stars per square degree
    zero_sigma: float = 0.02
    field_sigma: float = 0.0  # of zero points, common to all visits of a field: the catalogue's zonal errors
    sigma: float = 0.012  # of an observation
    extinction_sigma: float = 0.0  # of nights, per airmass
    flat_sigma: float = 0.0  # of cells
    cells: int = 0  # along each side of a quadrant
    variables: float = 0.03
    outliers: float = 0.005


@dataclass(frozen=True)
class SurveyTruth:
    """Zero point of each image (by night and by itself), of each cell, field of each image, stars."""

    zero: np.ndarray
    flat: np.ndarray
    field: np.ndarray
    mag: np.ndarray
    night: np.ndarray
    airmass: np.ndarray


def make_survey(seed, survey=None, **changes):
    """Draw a survey: its observations and what is true of it."""
    s = survey or PlantedSurvey(**changes)
    random = np.random.default_rng(seed)
    width = s.size + s.step * (s.fields - 1)
    stars = random.uniform(-0.5 * s.size, width + 0.5 * s.size, (2, int(s.density * (width + s.size) ** 2)))
    mag = random.uniform(15, 18, stars.shape[1])
    variable = np.where(random.uniform(size=len(mag)) < s.variables, random.uniform(0.05, 0.4, len(mag)), 0.0)
    corners = [(i * s.step, j * s.step) for i in range(s.fields) for j in range(s.fields)]
    if s.second_grid:
        half = s.step / 2
        corners += [(i * s.step + half, j * s.step + half) for i in range(s.fields) for j in range(s.fields)]
    pointings = [(f, visit) for visit in range(s.visits) for f in range(len(corners))]
    q, n_cells = s.quadrants, s.quadrants**2 * s.cells**2
    flat = random.normal(0, s.flat_sigma, n_cells) if n_cells else np.zeros(0)
    zonal = random.normal(0, s.field_sigma, len(corners))
    night = np.repeat([visit for _, visit in pointings], q * q)
    airmass = np.repeat(random.uniform(1.0, 2.0, len(pointings)), q * q)
    field = np.repeat([f for f, _ in pointings], q * q)
    zero = random.normal(0, s.zero_sigma, len(field)) + zonal[field]
    zero += random.normal(0, s.extinction_sigma, s.visits)[night] * (airmass - 1)
    columns = {"star": [], "image": [], "cell": []}
    for number, (f, _) in enumerate(pointings):
        shift = random.uniform(-s.dither, s.dither, 2)
        place = (stars - (np.array(corners[f]) + shift)[:, None]) / s.size * q
        inside = np.flatnonzero(np.all((place >= 0) & (place < q), axis=0))
        quadrant = place[:, inside].astype(int)
        number_in = quadrant[0] * q + quadrant[1]
        columns["star"].append(inside)
        columns["image"].append(number * q * q + number_in)
        small = ((place[:, inside] - quadrant) * max(s.cells, 1)).astype(int)
        columns["cell"].append((number_in * max(s.cells, 1) + small[0]) * max(s.cells, 1) + small[1])
    star, image, cell = (np.concatenate(columns[name]) for name in ("star", "image", "cell"))
    measured = mag[star] + zero[image] + s.sigma * random.normal(size=len(star))
    measured += variable[star] * np.sin(2 * np.pi * random.uniform(size=len(star)))
    off = random.uniform(size=len(star)) < s.outliers
    measured[off] += random.uniform(-1, 1, np.count_nonzero(off))
    if n_cells:
        measured += flat[cell]
    observations = SurveyObservations(
        star=star, image=image, mag=measured, error=np.full(len(star), np.sqrt(s.sigma**2 - 0.005**2)),
        n_stars=len(mag), n_images=len(field), cell=cell if n_cells else None, n_cells=n_cells,
    )  # fmt: skip
    return observations, SurveyTruth(zero, flat, field, mag, night, airmass)


def uniformity(solution, truth):
    """RMS error (mag) of images and of fields' means, before and after, the mean over all taken off."""
    out = []
    for error in (truth.zero, truth.zero + solution.offset):
        off = error - error.mean()
        fields = np.bincount(truth.field, off) / np.bincount(truth.field)
        out += [np.sqrt(np.mean(off**2)), np.sqrt(np.mean(fields**2))]
    return np.array(out)
