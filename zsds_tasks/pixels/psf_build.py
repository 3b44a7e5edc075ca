"""From the stars of an image to its PSF: selection, first profile, tables, outliers, neighbours."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import Peaks
from zsds_tasks.pixels.psf_model import SIGMA_OF_FWHM, PsfModel, fitting_oversampling, term_count
from zsds_tasks.pixels.psf_moffat import Moffat, fit_moffat
from zsds_tasks.pixels.psf_nodes import centred, node_grid, profile_nodes, spline_matrix
from zsds_tasks.pixels.psf_splines import MAX_TERMS, by_phase, in_order, table_rows, terms_at
from zsds_tasks.pixels.psf_star_fit import StarFit, fit_stars
from zsds_tasks.pixels.psf_star_rest import common_level, radial_excess, residual_pixels
from zsds_tasks.pixels.psf_stars import PsfBuildConfig, TooFewStarsError, choose_stars, cut_stamps
from zsds_tasks.pixels.psf_table import StarPixels, fit_tables

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Rows = NDArray[np.intp]
PROFILE_STARS, VARYING_STARS = 60, 150
TABLE_NODES_PER_FWHM = 3.0
"""What the first profile leaves is gentler than the PSF itself: coarser nodes carry it."""
TABLE_FWHM, LEAST_TABLE_PX = 3.0, 5
"""Tables reach so far from the star; beyond, profile and radial excess are all."""
Isolate = Callable[[PsfModel, Rows], tuple[Image, Floats, Floats]]


@dataclass(frozen=True)
class _Stars:
    """Stars of a PSF: rows among the peaks, 0-based middle pixels, stamps (NaN unusable), shifts, noise."""

    rows: Rows
    column: Floats
    row: Floats
    stamps: Image
    shifts: Floats
    noise: Floats

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: NDArray[np.bool_]) -> _Stars:
        """Return some of them."""
        return _Stars(*(getattr(self, f.name)[kept] for f in dataclasses.fields(self)))

    def every(self, count: int) -> _Stars:
        """Return about so many of them, at even steps through their order."""
        kept = np.zeros(len(self), np.bool_)
        kept[:: max(1, len(self) // count)] = True
        return self.take(kept)

    def moved(self, shifts: Floats) -> _Stars:
        """Return them with other shifts."""
        return dataclasses.replace(self, shifts=shifts)

    @property
    def places(self) -> tuple[Floats, Floats]:
        """The x and y in the image."""
        return self.column + self.shifts[:, 0], self.row + self.shifts[:, 1]


def build_psf(
    image: Image,
    mask: Mask,
    bits: int,
    noise: Mesh,
    gain: float,
    peaks: Peaks,
    fwhm_px: float,
    config: PsfBuildConfig,
    isolate: Isolate | None = None,
) -> PsfModel:
    """Make the PSF of an image from its stars.

    Parameters
    ----------
    image, mask, bits, noise, gain
        See `zsds_tasks.pixels.peaks.detect_peaks`.
    peaks : Peaks
        All that were detected: stars and their neighbours.
    fwhm_px : float
        Guess, within a quarter or so.
    config : PsfBuildConfig
    isolate : callable, optional
        Given a first PSF and rows of peaks, returns their stamps without neighbours and their places (x, y);
        see `zsds_tasks.pixels.psf_photometry.isolated_stamps`.

    Returns
    -------
    PsfModel

    Raises
    ------
    TooFewStarsError
        If fewer stars than a constant PSF needs are bright, clean and agree.
    """
    rows = choose_stars(image, mask, bits, peaks, fwhm_px, config)
    stamps, shifts = cut_stamps(image, mask, bits, peaks.x[rows], peaks.y[rows], config.half_px)
    x, y = peaks.x[rows], peaks.y[rows]
    sky = noise.at(x, y).astype(np.float64)
    stars = _Stars(rows, x - shifts[:, 0], y - shifts[:, 1], stamps, shifts, sky)
    maker = _Maker(stars, gain, fwhm_px, (image.shape[0], image.shape[1]), config)
    degree = config.degree_for(len(stars))
    model, coefficients, fit, level = maker.start(degree), None, None, 0.0
    for number in range(config.rounds):
        fit = fit_stars(model, stars.stamps, stars.shifts, stars.places, stars.noise, gain, level, fit)
        stars, fit = _agreeing(stars, fit, config, len(peaks), len(rows))
        degree = min(degree, config.degree_for(len(stars)))
        level = maker.level(stars, fit, model)
        coefficients = maker.coefficients(stars, fit, degree, level, coefficients)
        model = maker.model(coefficients, degree)
        if number == 0 and isolate is not None:
            stamps, x, y = isolate(model, stars.rows)
            shifts = np.column_stack([x - np.rint(x), y - np.rint(y)])
            stars = _Stars(stars.rows, np.rint(x), np.rint(y), stamps, shifts, stars.noise)
    fit = fit_stars(model, stars.stamps, stars.shifts, stars.places, stars.noise, gain, level, fit)
    return dataclasses.replace(model, n_stars=len(stars), chi=float(np.median(fit.chi)))


def _agreeing(
    stars: _Stars, fit: StarFit, config: PsfBuildConfig, n_peaks: int, n_candidates: int
) -> tuple[_Stars, StarFit]:
    """Drop stars whose width or residuals differ from the others'; raise if too few are left.

    Galaxies and close pairs are wide, hits of particles sharp. A model that is not yet right is wrong for all
    stars alike, so the comparison is with the median, not with what noise alone would give.
    """
    log_chi = np.log(np.maximum(fit.chi, 1e-3))
    kept = (fit.flux > 0) & (np.abs(fit.shifts) < 1).all(axis=1)
    for values, floor in ((fit.sharp, 0.02), (log_chi, 0.1)):
        middle = np.median(values[kept]) if kept.any() else 0.0
        off = np.abs(values - middle)
        spread = 1.4826 * np.median(off[kept]) if kept.any() else 0.0
        kept &= off <= config.clip_mads * max(float(spread), floor)
    n = int(np.count_nonzero(kept))
    if n < config.least_stars[0]:
        raise TooFewStarsError(n_peaks, n_candidates, n, config.least_stars[0])
    parts = (getattr(fit, f.name)[kept] for f in dataclasses.fields(fit))
    fit = StarFit(*parts)
    return stars.take(kept).moved(fit.shifts), fit


class _Maker:
    """Turns stars into a profile, tables and a model.

    Parameters
    ----------
    stars : _Stars
        That the first profile is made from.
    gain, fwhm_px : float
    shape : (ny, nx)
    config : PsfBuildConfig
    """

    def __init__(
        self, stars: _Stars, gain: float, fwhm_px: float, shape: tuple[int, int], config: PsfBuildConfig
    ) -> None:
        self.shape, self.config, self.gain = shape, config, gain
        self.constant = self._profile(stars.every(PROFILE_STARS), fwhm_px, 0)
        self.varying_stars = stars.every(VARYING_STARS)
        self.reach = min(config.half_px, max(LEAST_TABLE_PX, math.ceil(TABLE_FWHM * self.constant.fwhm)))
        self.fine = fitting_oversampling(self.constant.fwhm)
        self.coarse = fitting_oversampling(self.constant.fwhm, TABLE_NODES_PER_FWHM)
        self.starts: dict[int, tuple[Floats, PsfModel]] = {}
        self.excess = np.zeros(config.half_px + 2)

    def _profile(self, stars: _Stars, start: Moffat | float, degree: int) -> Moffat:
        terms = self._terms(stars, degree)
        return fit_moffat(stars.stamps, stars.shifts, stars.noise, self.gain, terms, start)[0]

    def _start(self, degree: int) -> tuple[Floats, PsfModel]:
        """Return the profile as nodes of polynomial terms, and as a model; fitted once for a degree."""
        if degree not in self.starts:
            profile = self.constant
            if degree > 0:
                profile = self._profile(self.varying_stars, self.constant, degree)
            nodes = profile_nodes(profile, degree, self.config.half_px, self.fine)
            self.starts[degree] = (nodes, self._model(nodes, degree))
        return self.starts[degree]

    def start(self, degree: int) -> PsfModel:
        """Return the model before any table."""
        return self._start(degree)[1]

    def _model(self, nodes: Floats, degree: int) -> PsfModel:
        return PsfModel.from_nodes(nodes, degree, self.shape, self.config.half_px, self.fine)

    def level(self, stars: _Stars, fit: StarFit, model: PsfModel) -> float:
        """Return the background left under the stars, DN per pixel."""
        return common_level(
            residual_pixels(model, stars.stamps, self._terms(stars, model.degree), fit, 0.0), fit
        )

    def coefficients(
        self, stars: _Stars, fit: StarFit, degree: int, level: float, before: Image | None
    ) -> Image:
        """Fit the tables to stars; `before` are those of an earlier round.

        First what all stars have more or less than the profile at a distance: in the wings every star's whole
        ring measures one number, where nodes of their own would be noise.
        """
        n, s, t = table_rows(self.reach), self.coarse, term_count(degree)
        start = np.zeros((t, s, s, n, n), np.float32)
        if before is not None:
            start[:] = before[:t]
        terms = self._terms(stars, degree)
        residual = residual_pixels(self.start(degree), stars.stamps, terms, fit, level)
        self.excess = radial_excess(residual, fit)
        wings = self._model(self._with_excess(degree), degree)
        pixels = residual_pixels(wings, stars.stamps, terms, fit, level)
        inner = slice(self.config.half_px - self.reach, self.config.half_px + self.reach + 1)
        pixels, weight = (np.ascontiguousarray(a[:, inner, inner]) for a in (pixels, fit.weight))
        known = StarPixels(pixels, weight, fit.flux, fit.shifts, terms)
        return fit_tables(known, self._prior(t), start, self.config.steps)

    def _with_excess(self, degree: int) -> Floats:
        nodes = self._start(degree)[0].copy()
        dx, dy = node_grid(self.config.half_px, self.fine)
        nodes[0] += np.interp(np.hypot(dx, dy), np.arange(len(self.excess)), self.excess, right=0.0)
        return nodes

    def _terms(self, stars: _Stars, degree: int) -> Floats:
        x, y = stars.places
        out = np.zeros((len(stars), MAX_TERMS))
        for k in range(len(stars)):
            u, v = (2 * x[k] + 1) / self.shape[1] - 1, (2 * y[k] + 1) / self.shape[0] - 1
            terms_at(u, v, degree, out[k])
        return np.ascontiguousarray(out[:, : term_count(degree)])

    def _prior(self, n_terms: int) -> Image:
        """Return how far from zero every coefficient may be expected; fading to zero at the stamp's edge.

        The constant term may leave the profile by much: all stars measure it, and what it errs by is the same
        for all. The others are held close, or each corner of the image would have its own idea of the wings.
        """
        config = self.config
        half, s = self.reach, self.coarse
        dx, dy = node_grid(half, s)
        light = self.constant.at(np.ones(1), dx, dy)
        fade = np.clip((half + 0.5 - np.hypot(dx, dy)) / (0.3 * half), 0, 1) * s**2 / light.sum()
        first = (config.prior_share * light + config.prior_floor) * fade
        rest = config.varying_share * light * fade
        nodes = np.stack([first] + [rest] * (n_terms - 1)).astype(np.float32)
        return np.ascontiguousarray(by_phase(nodes, s))

    def model(self, coefficients: Image, degree: int) -> PsfModel:
        """Return the model, every term normalised and the PSF centred at any place."""
        half = self.config.half_px
        matrix = spline_matrix(self.reach, self.coarse, half, self.fine)
        nodes = self._with_excess(degree) + matrix @ in_order(coefficients).astype(np.float64) @ matrix.T
        return self._model(centred(nodes, half, self.fine, self.constant.fwhm * SIGMA_OF_FWHM), degree)
