"""Conjugate gradients on the normal equations of a survey, whose matrix is never formed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.kernels import compiled
from zsds_tasks.science.relative.config import SurveyConfig
from zsds_tasks.science.relative.epochs import Floats, Rows

Short = NDArray[np.int32]


@dataclass(frozen=True)
class Problem:
    """Observations by star, then image, and what their offsets are made of.

    Parameters
    ----------
    starts : (n_stars + 1) int64
    image, cell : (n) int32
        `cell` may be empty.
    mag, weight : (n) float64
    to_images : scipy.sparse.csr_matrix (n_images, n_images + n_zones + 2 n_nights)
        Parameters to offsets of images.
    precision : (n_images + n_zones + 2 n_nights + n_cells) float64
        Of the parameters' priors, all of mean zero.
    n_images, n_zones, n_nights, n_cells : int
    component : (n_images) int32
    """

    starts: Rows
    image: Short
    cell: Short
    mag: Floats
    weight: Floats
    to_images: Any
    precision: Floats
    n_images: int
    n_zones: int
    n_nights: int
    n_cells: int
    component: Short

    def image_offsets(self, parameters: Floats) -> Floats:
        """Return (n_images) what the parameters add up to for each image."""
        return np.asarray(self.to_images @ parameters[: self.to_images.shape[1]], np.float64)

    def levels(self, parameters: Floats) -> Floats:
        """Return (n_images + n_cells) offsets of images, then of cells."""
        return np.concatenate([self.image_offsets(parameters), parameters[self.to_images.shape[1] :]])

    def gather(self, levels: Floats) -> Floats:
        """Return the transpose of `levels`."""
        return np.concatenate([self.to_images.T @ levels[: self.n_images], levels[self.n_images :]])


@dataclass(frozen=True)
class Solved:
    """Parameters, iterations and relative residual of the normal equations."""

    parameters: Floats
    iterations: int
    residual: float


def solve(
    problem: Problem,
    weight: Floats,
    config: SurveyConfig,
    *,
    start: Floats | None = None,
    noise: Floats | None = None,
    random: np.random.Generator | None = None,
) -> Solved:
    """Solve the normal equations by conjugate gradients with a diagonal preconditioner.

    Parameters
    ----------
    problem : Problem
    weight : (n) float64
        Of the observations.
    config : SurveyConfig
    start : float64, optional
        Parameters to begin with.
    noise : (n) float64, mag, optional
        Taken instead of the magnitudes.
    random : numpy.random.Generator, optional
        With `noise`: what draws the noise of the priors.
    """
    measured = problem.mag if noise is None else noise
    right = problem.gather(
        project_data(
            problem.starts, problem.image, problem.cell, measured, weight, problem.n_images, problem.n_cells
        )
    )
    if random is not None:
        right += np.sqrt(problem.precision) * random.normal(size=len(right))
    diagonal = _diagonal(problem, weight)

    def product(x: Floats) -> Floats:
        levels = problem.levels(x)
        out = project(problem.starts, problem.image, problem.cell, levels, weight, problem.n_images)
        return np.asarray(problem.gather(out) + problem.precision * x, np.float64)

    x = np.zeros(len(right)) if start is None else start.copy()
    r = right - product(x) if start is not None else right.copy()
    scale = float(np.sqrt(right @ (right / diagonal))) or 1.0
    z = r / diagonal
    p, rz = z.copy(), float(r @ z)
    iterations = 0
    while np.sqrt(rz) > config.tolerance * scale and iterations < config.iterations:
        q = product(p)
        alpha = rz / float(p @ q)
        x += alpha * p
        r -= alpha * q
        z = r / diagonal
        last, rz = rz, float(r @ z)
        p = z + (rz / last) * p
        iterations += 1
    return Solved(x, iterations, float(np.sqrt(rz)) / scale)


def _diagonal(problem: Problem, weight: Floats) -> Floats:
    """Return the diagonal of the matrix before stars are eliminated, near enough for a preconditioner."""
    images = np.bincount(problem.image, weight, problem.n_images)
    nights = (problem.to_images.multiply(problem.to_images)).T @ images
    cells = np.bincount(problem.cell, weight, problem.n_cells) if problem.n_cells else np.zeros(0)
    total = np.concatenate([nights, cells]) + problem.precision
    return np.asarray(np.where(total > 0, total, 1.0), np.float64)


def star_means(problem: Problem, parameters: Floats, config: SurveyConfig) -> tuple[Floats, Floats, Floats]:
    """Return means (n_stars), their RMS residuals in errors, and the weights of the next round (n)."""
    settings = np.array([config.outlier_sigma, config.max_star_chi])
    levels = problem.levels(parameters)
    means, chi, new = judge_stars(
        problem.starts, problem.image, problem.cell, problem.mag, levels, problem.weight, settings,
        problem.n_images,
    )  # fmt: skip
    return means, chi, new


@compiled("f8[::1](i8[::1], i4[::1], i4[::1], f8[::1], f8[::1], i8)", cache=True, nogil=True)
def project(starts: Rows, image: Short, cell: Short, levels: Floats, weight: Floats, n_images: int) -> Floats:
    """Multiply by the matrix: levels of each star less their mean, weighted, summed by image and cell."""
    out = np.zeros(len(levels))
    cells = len(cell) > 0
    for i in range(len(starts) - 1):
        top, bottom = 0.0, 0.0
        for e in range(starts[i], starts[i + 1]):
            value = levels[image[e]]
            if cells:
                value += levels[n_images + cell[e]]
            top += weight[e] * value
            bottom += weight[e]
        if bottom == 0.0:
            continue
        mean = top / bottom
        for e in range(starts[i], starts[i + 1]):
            value = levels[image[e]] - mean
            if cells:
                value += levels[n_images + cell[e]]
            value *= weight[e]
            out[image[e]] += value
            if cells:
                out[n_images + cell[e]] += value
    return out


@compiled("f8[::1](i8[::1], i4[::1], i4[::1], f8[::1], f8[::1], i8, i8)", cache=True, nogil=True)
def project_data(
    starts: Rows, image: Short, cell: Short, mag: Floats, weight: Floats, n_images: int, n_cells: int
) -> Floats:
    """Return the right side: magnitudes of each star less their mean, weighted, summed by image and cell."""
    out = np.zeros(n_images + n_cells)
    for i in range(len(starts) - 1):
        top, bottom = 0.0, 0.0
        for e in range(starts[i], starts[i + 1]):
            top += weight[e] * mag[e]
            bottom += weight[e]
        if bottom == 0.0:
            continue
        for e in range(starts[i], starts[i + 1]):
            value = weight[e] * (mag[e] - top / bottom)
            out[image[e]] += value
            if n_cells > 0:
                out[n_images + cell[e]] += value
    return out


@compiled(
    "Tuple((f8[::1], f8[::1], f8[::1]))(i8[::1], i4[::1], i4[::1], f8[::1], f8[::1], f8[::1], f8[::1], i8)",
    cache=True,
    nogil=True,
)
def judge_stars(
    starts: Rows,
    image: Short,
    cell: Short,
    mag: Floats,
    levels: Floats,
    formal: Floats,
    settings: Floats,
    n_images: int,
) -> tuple[Floats, Floats, Floats]:
    """Average each star, and weigh its observations anew: bisquare, and none of a variable star."""
    n, limit = len(starts) - 1, settings[0] ** 2
    means, chi = np.full(n, np.nan), np.full(n, np.nan)
    out = np.zeros(len(mag))
    value = np.empty(len(mag))
    for i in range(n):
        first, last = starts[i], starts[i + 1]
        if last == first:
            continue
        for e in range(first, last):
            value[e] = mag[e] - levels[image[e]]
            if len(cell) > 0:
                value[e] -= levels[n_images + cell[e]]
        middle = np.median(value[first:last])
        top, bottom = 0.0, 0.0
        for e in range(first, last):
            # Of two that differ nobody knows which is wrong.
            t = max(1.0 - formal[e] * (value[e] - middle) ** 2 / limit, 0.0) if last - first > 2 else 1.0
            out[e] = formal[e] * t * t
            top += out[e] * value[e]
            bottom += out[e]
        means[i] = top / bottom if bottom > 0.0 else middle
        if last - first > 1:
            squares = 0.0
            for e in range(first, last):
                squares += min(formal[e] * (value[e] - means[i]) ** 2, limit)
            chi[i] = np.sqrt(squares / (last - first - 1))
            for e in range(first, last if chi[i] > settings[1] else first):
                out[e] = 0.0
    return means, chi, out
