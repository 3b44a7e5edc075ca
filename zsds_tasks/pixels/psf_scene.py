"""All sources of one image as they are known so far, and the image without them.

What `psf_photometry` orchestrates: sources are added, fitted in turns, dropped; the residual image always is
the image minus all of them as they stand.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.pixels import psf_draw as columns
from zsds_tasks.pixels.mesh import Mesh
from zsds_tasks.pixels.peaks import Peaks
from zsds_tasks.pixels.psf_config import PsfPhotometryConfig
from zsds_tasks.pixels.psf_draw import draw_sources
from zsds_tasks.pixels.psf_fit_kernels import judge, sweep
from zsds_tasks.pixels.psf_groups import group_sources
from zsds_tasks.pixels.psf_model import PsfModel
from zsds_tasks.pixels.psf_scene_kernels import (
    blank_unusable,
    grow_patches,
    own_stamps,
    terms_of_places,
    usable_shares,
)
from zsds_tasks.pixels.psf_splines import MAX_TERMS

Image = NDArray[np.float32]
Mask = NDArray[np.uint16]
Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
CELL_PX = 128
"""Sources that are not bright share the PSF of the middle of their cell."""
LEAST_USABLE = 0.6
"""Of the disc of a fit; a source with less is fitted on as much of its wings as the PSF holds."""


class Scene:
    """Sources and the image without them.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32
        Sky-subtracted, DN. Not changed.
    mask : numpy.ndarray (ny, nx), uint16
    bits : int
        See `zsds_tasks.pixels.peaks.detect_peaks`.
    noise : Mesh
    gain : float
    model : PsfModel
    config : PsfPhotometryConfig
    out : numpy.ndarray (ny, nx), float32, optional
        Becomes the residual image; made if not given.
    """

    def __init__(
        self,
        image: Image,
        mask: Mask,
        bits: int,
        noise: Mesh,
        gain: float,
        model: PsfModel,
        config: PsfPhotometryConfig,
        out: Image | None = None,
    ) -> None:
        self.image, self.noise, self.gain, self.model, self.config = image, noise, gain, model, config
        self.residual = np.empty_like(image) if out is None else out
        blank_unusable(image, mask, bits, self.residual)
        ny, nx = image.shape
        self._cells = (-(-ny // CELL_PX), -(-nx // CELL_PX))
        n_cells = self._cells[0] * self._cells[1]
        self._row_of_cell = np.full(n_cells, -1, np.int64)
        self._used = self._exact = 0
        self.tables = np.empty((n_cells + config.exact_most, *model.tables.shape[1:]), np.float32)
        self.sources = np.empty((0, columns.SOURCE_COLUMNS))
        self.plan = np.empty((0, columns.PLAN_COLUMNS), np.int64)
        self.is_hidden = np.empty(0, np.bool_)
        self.is_revealed = np.empty(0, np.bool_)
        self.groups = group_sources(np.empty(0), np.empty(0), 1.0, 1)
        self._profile = _radial_profile(model)

    def __len__(self) -> int:
        """Return how many sources."""
        return len(self.sources)

    @property
    def x(self) -> Floats:
        """Columns, 0-based px."""
        return self.sources[:, columns.X]

    @property
    def y(self) -> Floats:
        """Rows, 0-based px."""
        return self.sources[:, columns.Y]

    @property
    def flux(self) -> Floats:
        """DN."""
        return self.sources[:, columns.FLUX]

    def _mixed(self, x: Floats, y: Floats) -> Rows:
        """Mix the tables of some places and return the rows that hold them: one product of matrices."""
        first, self._used = self._used, self._used + len(x)
        of_terms = self.model.tables
        terms = np.zeros((len(x), MAX_TERMS))
        ny, nx = self.model.shape
        terms_of_places((2 * x + 1) / nx - 1, (2 * y + 1) / ny - 1, self.model.degree, terms)
        out = self.tables[first : self._used].reshape(len(x), of_terms[0].size)
        share = terms[:, : len(of_terms)].astype(np.float32)
        np.matmul(share, of_terms.reshape(len(of_terms), of_terms[0].size), out=out)
        return np.arange(first, self._used)

    def _rows_of_cells(self, cells: Rows) -> Rows:
        """Return the rows of the tables of some cells; those not asked for before are mixed."""
        fresh = np.unique(cells[self._row_of_cell[cells] < 0])
        ny, nx = self.image.shape
        x = np.minimum((fresh % self._cells[1] + 0.5) * CELL_PX, nx - 1.0)
        y = np.minimum((fresh // self._cells[1] + 0.5) * CELL_PX, ny - 1.0)
        self._row_of_cell[fresh] = self._mixed(x, y)
        return self._row_of_cell[cells]

    def add(self, peaks: Peaks, *, is_revealed: bool = False) -> NDArray[np.bool_]:
        """Add sources at peaks, with their guessed fluxes; return which peaks were taken.

        Around the hidden core of a saturated star the rim and the trail's ends hold charge that is not light
        of that place: what touches such a patch of unusable pixels becomes unusable, and peaks on it are left
        out.
        """
        hidden = peaks.is_hidden
        grow_patches(self.residual, np.rint(peaks.x[hidden]), np.rint(peaks.y[hidden]))
        column = np.clip(np.rint(peaks.x).astype(np.intp), 0, self.residual.shape[1] - 1)
        row = np.clip(np.rint(peaks.y).astype(np.intp), 0, self.residual.shape[0] - 1)
        taken = hidden | np.isfinite(self.residual[row, column])
        peaks = peaks.take(taken)
        fresh = np.zeros((len(peaks), columns.SOURCE_COLUMNS))
        fresh[:, columns.X] = fresh[:, columns.X_START] = peaks.x
        fresh[:, columns.Y] = fresh[:, columns.Y_START] = peaks.y
        fresh[:, columns.FLUX] = peaks.flux
        fresh[:, columns.NOISE] = self.noise.at(peaks.x, peaks.y)
        rows = np.arange(len(self), len(self) + len(peaks))
        plan = self._planned(fresh, peaks.is_hidden)
        self.sources = np.ascontiguousarray(np.concatenate([self.sources, fresh]))
        self.plan = np.ascontiguousarray(np.concatenate([self.plan, plan]))
        self.is_hidden = np.concatenate([self.is_hidden, peaks.is_hidden])
        self.is_revealed = np.concatenate([self.is_revealed, np.full(len(peaks), is_revealed)])
        draw_sources(self.residual, self.sources, self.plan, self.tables, rows, -1.0)
        self._regroup()
        return taken

    def drop(self, kept: NDArray[np.bool_]) -> None:
        """Keep some sources; the light of the others returns to the residual image."""
        gone = np.flatnonzero(~kept)
        draw_sources(self.residual, self.sources, self.plan, self.tables, gone, 1.0)
        self.sources, self.plan = self.sources[kept], self.plan[kept]
        self.is_hidden, self.is_revealed = self.is_hidden[kept], self.is_revealed[kept]
        self._regroup()

    def _regroup(self) -> None:
        link = self.config.link_fwhm * self.model.fwhm
        self.groups = group_sources(self.x, self.y, link, self.config.group_size)

    def _planned(self, sources: Floats, is_hidden: NDArray[np.bool_]) -> Rows:
        """Decide for new sources which PSF they get, where they are fitted and how far drawn."""
        config, half = self.config, self.model.half
        plan = np.empty((len(sources), columns.PLAN_COLUMNS), np.int64)
        x, y, flux = (sources[:, k].copy() for k in (columns.X, columns.Y, columns.FLUX))
        noise = np.maximum(sources[:, columns.NOISE], 1e-6)
        cell = np.clip([y // CELL_PX, x // CELL_PX], 0, np.array(self._cells)[:, None] - 1).astype(np.int64)
        snr = flux / (
            noise * math.sqrt(self.model.n_eff((self.model.shape[1] - 1) / 2, (self.model.shape[0] - 1) / 2))
        )
        bright = np.argsort(-snr, kind="stable")[: config.exact_most - self._exact]
        bright = bright[snr[bright] > config.exact_snr]
        self._exact += len(bright)
        plan[bright, columns.TABLE] = self._mixed(x[bright], y[bright])
        others = np.delete(np.arange(len(sources)), bright)
        plan[others, columns.TABLE] = self._rows_of_cells((cell[0] * self._cells[1] + cell[1])[others])
        fit = min(half, max(config.least_fit_px, round(config.fit_fwhm * self.model.fwhm)))
        plan[:, columns.FIT] = fit
        usable = np.empty(len(sources))
        usable_shares(self.residual, x, y, fit, usable)
        plan[(usable < LEAST_USABLE) | is_hidden, columns.FIT] = half
        limit = config.drawn_share * noise / np.maximum(flux, 1e-3)
        reach = len(self._profile) - np.searchsorted(self._profile[::-1], limit, side="right")
        plan[:, columns.DRAW] = np.clip(reach, plan[:, columns.FIT], half)
        return plan

    def sweep(self, groups: Rows) -> None:
        """Step the sources of some groups once."""
        roam = self.config.roam_fwhm * self.model.fwhm
        sweep(
            self.image,
            self.residual,
            self.sources,
            self.plan,
            self.tables,
            self.groups.start,
            self.groups.member,
            groups,
            self.gain,
            roam,
        )

    def settle(self, groups: Rows, sweeps: int, settled_sigma: float | None = None) -> None:
        """Sweep until sources have settled (as configured, if not given) or the turns are used up."""
        sigma = self.config.settled_sigma if settled_sigma is None else settled_sigma
        for _ in range(sweeps):
            if len(groups) == 0:
                break
            self.sweep(groups)
            groups = self._restless(groups, sigma)

    def _restless(self, groups: Rows, settled_sigma: float) -> Rows:
        """Return those of some groups whose last step was not small."""
        step = self.sources[self.groups.member, columns.STEP]
        largest = np.maximum.reduceat(step, self.groups.start[:-1]) if len(step) else step
        return groups[largest[groups] > settled_sigma]

    def judge(self, groups: Rows, results: Floats) -> None:
        """Write errors and qualities of the sources of some groups; see `psf_fit_columns.judge`."""
        judge(
            self.image,
            self.residual,
            self.sources,
            self.plan,
            self.tables,
            self.groups.start,
            self.groups.member,
            groups,
            self.gain,
            results,
        )

    def all_groups(self) -> Rows:
        """Return all groups."""
        return np.arange(len(self.groups))

    def groups_near(self, x: Floats, y: Floats) -> Rows:
        """Return the groups with a source whose fit the light at some places touches."""
        if len(x) == 0 or len(self) == 0:
            return np.empty(0, np.int64)
        reach = 2.0 * max(self.config.least_fit_px, self.config.fit_fwhm * self.model.fwhm)
        near = cKDTree(np.column_stack([x, y])).query(
            np.column_stack([self.x, self.y]), distance_upper_bound=reach
        )
        return np.unique(self.groups.of_sources()[np.isfinite(near[0])])

    def wing(self, distance: Floats) -> Floats:
        """Return the PSF at distances, px; beyond the stamp as their inverse square."""
        half = self.model.half
        inside = np.interp(distance, np.arange(half + 1), self._profile)
        return np.asarray(inside * np.minimum(half / np.maximum(distance, 1e-9), 1.0) ** 2)

    def own_stamps(self, rows: Rows) -> Image:
        """Return the pixels (N, n, n) of some sources without the others; NaN where unusable."""
        n = 2 * self.model.half + 1
        out = np.empty((len(rows), n, n), np.float32)
        own_stamps(self.residual, self.sources, self.plan, self.tables, rows, out)
        return out


def _radial_profile(model: PsfModel) -> Floats:
    """Return the largest value (half + 1) of the PSF at or beyond every whole distance from its middle."""
    stamp = model.stamp((model.shape[1] - 1) / 2, (model.shape[0] - 1) / 2, 2 * model.half + 1)
    offsets = np.arange(-model.half, model.half + 1)
    radius = np.hypot(offsets[:, None], offsets[None, :]).ravel()
    largest = np.array([stamp.ravel()[radius >= r].max() for r in range(model.half + 1)], np.float64)
    return np.maximum(largest, 0.0)
