"""What proper subtraction needs of two PSFs at one place: transforms, kernels of the noise, the PSF of D.

All kernels are compact, so they are made on a small periodic grid in float64; only the transforms of the PSFs
are needed at the frequencies of a whole tile, and those of a small stamp are two small matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from zsds_tasks.pixels.psf_model import PsfModel, fitting_oversampling
from zsds_tasks.pixels.psf_splines import MARGIN, node_offsets

Image = NDArray[np.float32]
Floats = NDArray[np.float64]
Spectrum = NDArray[np.complex64]
KERNEL_LIGHT = 0.998
MOST_KERNEL_HALF = 8


class Psf(Protocol):
    """Anything that draws a PSF; `zsds_tasks.pixels.psf_model.PsfModel` does."""

    def stamp(self, x: float, y: float, size: int = 25, shift: tuple[float, float] = (0.0, 0.0)) -> Image:
        """Return the PSF at 0-based place (x, y), (size, size), the star `shift` px from its middle."""


@dataclass(frozen=True)
class PsfPair:
    """The PSFs of both images at one place.

    Parameters
    ----------
    new, ref : numpy.ndarray (n, n), n odd
        Sum 1 (as far as the stamp holds the light), the star on the middle pixel.
    new_sigma, ref_sigma : float
        Noise of a pixel.
    floor : float
        Least den^2 in units of its value at frequency zero.
    """

    new: NDArray[np.floating]
    ref: NDArray[np.floating]
    new_sigma: float
    ref_sigma: float
    floor: float = 1e-12

    @property
    def noise(self) -> float:
        """1 / F_D: noise of a pixel of the difference in units of the images."""
        return math.hypot(self.new_sigma, self.ref_sigma)

    @property
    def aliasing(self) -> tuple[float, float]:
        """Return the transform of the sharper PSF at the highest frequency along x and y, that at zero is 1.

        So much of a star's light is where pixels do not say between which of them it lies.
        """
        sign = (-1.0) ** np.arange(len(self.new))
        sharpest = [max(abs(float(psf.sum(axis) @ sign)) for psf in (self.new, self.ref)) for axis in (0, 1)]
        return sharpest[0], sharpest[1]

    @property
    def grid(self) -> int:
        """Side of the small periodic grid, px."""
        return int(fft.next_fast_len(2 * len(self.new) + 14, real=True))

    def transform(self, stamp: NDArray[np.floating]) -> NDArray[np.complex128]:
        """Return the transform (..., grid, grid / 2 + 1) of stamps (..., n, n) centred on pixel (0, 0)."""
        half, side = stamp.shape[-1] // 2, self.grid
        whole = np.zeros((*stamp.shape[:-2], side, side))
        whole[..., : stamp.shape[-2], : stamp.shape[-1]] = stamp
        return np.asarray(fft.rfft2(np.roll(whole, (-half, -half), axis=(-2, -1))))

    def parts(self) -> tuple[NDArray[np.complex128], NDArray[np.complex128], Floats]:
        """Return the transforms of both PSFs and den^2."""
        new, ref = self.transform(self.new), self.transform(self.ref)
        den2 = (self.new_sigma * np.abs(ref)) ** 2 + (self.ref_sigma * np.abs(new)) ** 2
        return new, ref, np.maximum(den2, self.floor * self.noise**2)

    def flux_score(self) -> float:
        """Return F_S: the flux of a point source is S / F_S."""
        new, ref, den2 = self.parts()
        power = np.abs(new) ** 2 * np.abs(ref) ** 2 / den2
        doubled = np.full(power.shape[1], 2.0)
        doubled[0] = 1.0
        if self.grid % 2 == 0:
            doubled[-1] = 1.0
        return float((power * doubled).sum() / self.grid**2)

    def variance_kernels(self) -> tuple[Image, Image]:
        """Return k_n^2 and k_r^2 (m, m) float32, mirrored, m odd: variance of S from that of pixels.

        They are cut where they hold nearly all their sum, and scaled to hold all of it.
        """
        new, ref, den2 = self.parts()
        kernels = [
            fft.irfft2(np.conj(a) * np.abs(b) ** 2 / den2, s=(self.grid, self.grid)) ** 2
            for a, b in ((new, ref), (ref, new))
        ]
        return _cut(kernels[0]), _cut(kernels[1])

    def difference_psf(self, size: int | None = None) -> Floats:
        """Return P_D (size, size) float64; its sum is 1 less what lies beyond."""
        new, ref, den2 = self.parts()
        whole = fft.irfft2(new * ref / np.sqrt(den2), s=(self.grid, self.grid)) * self.noise
        return _middle(whole, (size or len(self.new)) // 2)


def _middle(periodic: Floats, half: int) -> Floats:
    return np.roll(periodic, (half, half), axis=(-2, -1))[..., : 2 * half + 1, : 2 * half + 1]


def _cut(kernel: Floats) -> Image:
    total = kernel.sum()
    for half in range(1, MOST_KERNEL_HALF + 1):
        part = _middle(kernel, half)
        if part.sum() >= KERNEL_LIGHT * total:
            break
    return np.ascontiguousarray(part[::-1, ::-1] * (total / part.sum()), np.float32)


def pair_at(
    new: Psf, ref: Psf, place: tuple[float, float], sigmas: tuple[float, float], size: int, floor: float
) -> PsfPair:
    """Return both PSFs at a 0-based place (x, y), each scaled to sum 1."""
    stamps = [psf.stamp(*place, size).astype(np.float64) for psf in (new, ref)]
    return PsfPair(stamps[0] / stamps[0].sum(), stamps[1] / stamps[1].sum(), *sigmas, floor)


def difference_steps(pair: PsfPair) -> int:
    """Return how many nodes per pixel the PSF of the difference needs."""
    return fitting_oversampling(max(_fwhm(pair.difference_psf()), 1.0))


def difference_model(new: Psf, pair: PsfPair, place: tuple[float, float], steps: int) -> PsfModel:
    """Return the PSF of the difference as a model: how a new source looks at any sub-pixel place.

    A new source is in one image only, so it is drawn with that image's PSF, shifted, and goes through the
    filter of the difference. That is exact where shifting P_D itself would not be: it is hardly sampled.

    Parameters
    ----------
    new : Psf
        Of the new image.
    pair : PsfPair
    place : (x, y), 0-based px
    steps : int
        Nodes per pixel.
    """
    size, half = len(pair.new), len(pair.new) // 2
    total = float(new.stamp(*place, size).astype(np.float64).sum())
    shifts = [(-j / steps, -i / steps) for i in range(steps) for j in range(steps)]
    stamps = np.array([new.stamp(*place, size, shift).astype(np.float64) for shift in shifts]) / total
    _, ref, den2 = pair.parts()
    spectra = pair.transform(stamps) * (ref / np.sqrt(den2) * pair.noise)
    seen = _middle(fft.irfft2(spectra, s=(pair.grid, pair.grid)), half + MARGIN)
    n = seen.shape[-1]
    nodes = np.moveaxis(seen.reshape(steps, steps, n, n), (0, 1), (1, 3)).reshape(n * steps, n * steps)
    assert nodes.shape[0] == len(node_offsets(half, steps))  # noqa: S101 - both follow from `half`
    return PsfModel.from_nodes(np.ascontiguousarray(nodes[None]), 0, (1, 1), half, steps)


def _fwhm(stamp: Floats) -> float:
    """Return about the FWHM of a stamp: that of the Gaussian as high and as bright."""
    return float(0.9394 * math.sqrt(stamp.sum() / stamp.max()))


@dataclass(frozen=True)
class StampTransform:
    """Transform of a small stamp at the frequencies of a tile, as two matrix products.

    Parameters
    ----------
    rows : numpy.ndarray (ty, n), complex64
    columns : numpy.ndarray (n, tx / 2 + 1), complex64
    """

    rows: Spectrum
    columns: Spectrum

    @classmethod
    def of(cls, shape: tuple[int, int], size: int) -> StampTransform:
        """Prepare the transform of stamps of a size for tiles of a shape (ty, tx)."""
        at = np.arange(size) - size // 2
        y, x = np.arange(shape[0]) / shape[0], np.arange(shape[1] // 2 + 1) / shape[1]
        rows, columns = np.exp(-2j * np.pi * np.outer(y, at)), np.exp(-2j * np.pi * np.outer(at, x))
        return cls(rows.astype(np.complex64), columns.astype(np.complex64))

    def __call__(self, stamp: NDArray[np.floating], out: Spectrum) -> None:
        """Write the transform (ty, tx / 2 + 1) of a stamp (n, n) whose middle is pixel (0, 0)."""
        np.matmul(self.rows, stamp.astype(np.complex64) @ self.columns, out=out)
