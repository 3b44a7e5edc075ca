"""The epochs of one unit (field, filter, quadrant), in an order that depends on nothing but themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.kernels import compiled

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class UnitEpochs:
    """Measurements of the seeds of one unit on its images; all columns (n).

    Parameters
    ----------
    seed, image : int64
        From 0. Numbers must follow from identifiers (`number_by`), not from the order of arrival.
    mag, magerr : float, mag
        As calibrated image by image, and their formal errors. NaN where there is none.
    x, y : float, pixels
        FITS, from 1.
    flags : int64
        OR of the mask around the source; -1 near an edge.
    n_seeds, n_images : int
    shape : (ny, nx)
        Of the images.
    excluded : (n_images) bool, optional
        Images known to be of bad quality: they are corrected, but decide about nothing.
    """

    seed: Rows
    image: Rows
    mag: Floats
    magerr: Floats
    x: Floats
    y: Floats
    flags: Rows
    n_seeds: int
    n_images: int
    shape: tuple[int, int]
    excluded: Bools | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        n = len(self.seed)
        for name in ("image", "mag", "magerr", "x", "y", "flags"):
            if len(getattr(self, name)) != n:
                raise UnusableInputError(
                    f"{len(getattr(self, name))} values of {name} for {n} epochs", subject="epochs of a unit"
                )
        for name, limit in (("seed", self.n_seeds), ("image", self.n_images)):
            numbers = getattr(self, name)
            if n and not 0 <= numbers.min() <= numbers.max() < limit:
                raise UnusableInputError(
                    f"{name} from {numbers.min()} to {numbers.max()}, not 0 to {limit - 1}",
                    subject="epochs of a unit", remedy="number them with number_by",
                )  # fmt: skip
        if self.excluded is not None and len(self.excluded) != self.n_images:
            raise UnusableInputError(
                f"{len(self.excluded)} marks of excluded images for {self.n_images}",
                subject="epochs of a unit",
            )

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self.seed)

    def usable(self, unusable_flags: int) -> Bools:
        """Return (n) bool: epochs with a magnitude, an error, no bad pixel and no edge."""
        good: Bools = np.isfinite(self.mag) & (self.magerr > 0) & np.isfinite(self.magerr)
        return good & (self.flags >= 0) & ((self.flags & unusable_flags) == 0)

    def normalised(self, rows: Any = slice(None)) -> tuple[Floats, Floats]:
        """Return columns and rows from -1 to 1 over the image, of some epochs."""
        ny, nx = self.shape
        u = (np.asarray(self.x[rows], np.float64) - (nx + 1) / 2) / (nx / 2)
        v = (np.asarray(self.y[rows], np.float64) - (ny + 1) / 2) / (ny / 2)
        return u, v


def number_by(keys: Rows, known: Rows | None = None) -> tuple[Rows, Rows]:
    """Count identifiers from 0 in ascending order.

    Parameters
    ----------
    keys : (n) int64
        objectid or pid of each epoch.
    known : (k) int64, optional
        Identifiers to number besides, such as images without an epoch.

    Returns
    -------
    distinct : (m) int64
        Ascending.
    numbers : (n) int64
        ``distinct[numbers] == keys``.
    """
    distinct = np.unique(keys if known is None else np.concatenate([np.unique(keys), known]))
    return distinct, np.searchsorted(distinct, keys).astype(np.int64)


def canonical_order(seed: Rows, image: Rows, n_seeds: int, n_images: int) -> tuple[Rows, Rows]:
    """Sort by image, then seed.

    Returns
    -------
    order : (n) int64
        Of the epochs whose pair of seed and image is single. Of two epochs of one seed in one image neither
        can be trusted, and which came first would depend on the order of arrival.
    starts : (n_images + 1) int64
        Where each image begins in `order`.
    """
    order = counting_sort(image, counting_sort(seed, np.arange(len(seed)), n_seeds), n_images)
    s, i = seed[order], image[order]
    same = (s[1:] == s[:-1]) & (i[1:] == i[:-1])
    single = np.ones(len(order), np.bool_)
    single[1:] &= ~same
    single[:-1] &= ~same
    order = order[single]
    return order, segment_starts(image[order], n_images)


def segment_starts(numbers: Rows, n: int) -> Rows:
    """Return (n + 1) int64: where each number begins in an ascending column."""
    return np.searchsorted(numbers, np.arange(n + 1)).astype(np.int64)


@compiled("i8[::1](i8[::1], i8[::1], i8)", cache=True, nogil=True)
def counting_sort(keys: Rows, order: Rows, n_keys: int) -> Rows:
    """Sort `order` by the keys of its rows (0 to n_keys - 1), stable."""
    place = np.zeros(n_keys + 1, np.int64)
    for row in order:
        place[keys[row] + 1] += 1
    for k in range(n_keys):
        place[k + 1] += place[k]
    out = np.empty(len(order), np.int64)
    for row in order:
        key = keys[row]
        out[place[key]] = row
        place[key] += 1
    return out
