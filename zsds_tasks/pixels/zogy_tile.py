"""Proper image subtraction of one tile: Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27 (reference section 6.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from zsds_tasks.pixels.zogy_kernels import finish_tile, mix_spectra
from zsds_tasks.pixels.zogy_load import GOOD
from zsds_tasks.pixels.zogy_psf import PsfPair, StampTransform

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
MARGIN = 9
"""Pixels around the core that variance kernels and gradients may reach."""


@dataclass(frozen=True)
class TileDifference:
    """What subtraction gives for one tile.

    Parameters
    ----------
    difference : numpy.ndarray (ty, tx), float32
        D in units of the images: divided by F_D.
    score, corrected : numpy.ndarray (ty, tx), float32
        S, and S_corr: sigmas.
    psf : numpy.ndarray (n, n), float64
        P_D, sum 1.
    flux_score : float
        F_S: flux of a point source = S / F_S.
    noise : float
        Of a pixel of `difference` in blank sky: 1 / F_D.
    sigma : numpy.ndarray (ty, tx), float32
        1 sigma of each pixel of `difference`, sources included.
    """

    difference: Image
    score: Image
    corrected: Image
    psf: Floats
    flux_score: float
    noise: float
    sigma: Image


class TileWork:
    """Buffers of one shape of tile, used for one tile after the other.

    Parameters
    ----------
    shape : (ty, tx)
        tx even; products of small primes are fast.
    stamp : int
        Side of the PSFs' stamps, odd.

    Attributes
    ----------
    new, ref, new_variance, ref_variance : numpy.ndarray (ty, tx), float32
        To be filled before `transform`.
    marks : numpy.ndarray (ty, tx), uint8
        Holes; see `zsds_tasks.pixels.zogy_load`.
    """

    def __init__(self, shape: tuple[int, int], stamp: int) -> None:
        if shape[1] % 2:
            raise ValueError(f"a tile of {shape}: the number of columns must be even")
        self.shape = shape
        self.new, self.ref = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.new_variance, self.ref_variance = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.marks = np.full(shape, GOOD, np.uint8)
        self._stamps = StampTransform.of(shape, stamp)
        spectrum = (shape[0], shape[1] // 2 + 1)
        self._psfs = np.empty(spectrum, np.complex64), np.empty(spectrum, np.complex64)

    def transform(self, pair: PsfPair) -> tuple[Image, Image, Image]:
        """Return D (units of the images), S_N and S_R (ty, tx) float32 of the periodic tile."""
        new, ref = fft.rfft2(self.new, workers=1), fft.rfft2(self.ref, workers=1)
        new_psf, ref_psf = self._psfs
        self._stamps(pair.new, new_psf)
        self._stamps(pair.ref, ref_psf)
        parts = (part.view(np.float32) for part in (new, ref, new_psf, ref_psf))
        mix_spectra(*parts, pair.new_sigma**2, pair.ref_sigma**2, pair.floor)
        back = (fft.irfft2(part, s=self.shape, workers=1, overwrite_x=True) for part in (new, ref, new_psf))
        difference, new_score, ref_score = back
        return difference, new_score, ref_score

    def finish(
        self,
        images: tuple[Image, Image, Image],
        kernels: tuple[Image, Image],
        terms: tuple[float, float, float, float],
        grow: tuple[int, int, int],
        corner: tuple[int, int],
        out: tuple[Image, Image, Image],
    ) -> None:
        """Write difference, S_corr and sigma of the core (cy, cx) that begins at `corner`, row and column.

        Parameters
        ----------
        images : (difference, S_N, S_R)
        kernels : see `PsfPair.variance_kernels`
        terms : (registration error x, y; px; relative error of the PSFs; 1 if only common slopes count)
        grow : (px of holes, px of bright holes, brightest kind of hole there is)
        corner : (row, column)
        out : (difference, S_corr, sigma), (cy, cx) float32
        """
        squares = np.square(np.array(terms, np.float64))
        variances = (self.new_variance, self.ref_variance)
        edges = np.array(grow, np.int64), np.array(corner, np.int64)
        finish_tile(*images, *variances, *kernels, squares, self.marks, *edges, *out)


def subtract_tile(
    new: Image,
    ref: Image,
    variances: tuple[Image, Image],
    pair: PsfPair,
    registration: tuple[float, float] = (0.0, 0.0),
    psf_error: float = 0.0,
) -> TileDifference:
    """Subtract one tile from another, both taken as periodic.

    Parameters
    ----------
    new, ref : numpy.ndarray (ty, tx), float32
        Without background, registered, on one flux scale (F_n = F_r = 1); tx even.
    variances : two numpy.ndarray (ty, tx), float32
        Of each pixel, light of sources included.
    pair : PsfPair
    registration : (sigma_x, sigma_y), px
        Both images carry it.
    psf_error : float
        Relative error of the PSFs: so much of what both images share counts as noise of the score.

    Returns
    -------
    TileDifference

    Raises
    ------
    ValueError
        If shapes do not agree.
    """
    shape = (new.shape[0], new.shape[1])
    if ref.shape != shape or any(v.shape != shape for v in variances):
        raise ValueError(f"a tile of {shape} with a reference of {ref.shape}")
    work = TileWork(shape, len(pair.new))
    np.copyto(work.new, new)
    np.copyto(work.ref, ref)
    images = work.transform(pair)
    whole = tuple(np.pad(image, MARGIN, mode="wrap") for image in images)
    padded = TileWork((shape[0] + 2 * MARGIN, shape[1] + 2 * MARGIN), len(pair.new))
    padded.new_variance[:], padded.ref_variance[:] = (np.pad(v, MARGIN, mode="wrap") for v in variances)
    out = np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.float32)
    kernels = pair.variance_kernels()
    terms = (*registration, psf_error, 0.0)
    padded.finish((whole[0], whole[1], whole[2]), kernels, terms, (0, 0, GOOD), (MARGIN, MARGIN), out)
    psf = pair.difference_psf()
    score = images[1] - images[2]
    noise = math.hypot(pair.new_sigma, pair.ref_sigma)
    return TileDifference(out[0], score, out[1], psf / psf.sum(), pair.flux_score(), noise, out[2])
