"""What is matched: seeds and detections of a unit, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
REFERENCE, FOUNDED = 0, 1
"""Origins of seeds: a source of the reference image, or a detection that no seed explains."""


@dataclass(frozen=True)
class Unit:
    """What has light curves of its own: a quadrant in a field and a filter.

    Parameters
    ----------
    field, fid, ccdid, qid : int
    ra, dec : float, deg
        Nominal centre of the quadrant in this field: a fact of the survey's grid and camera, never of the
        data, for founded seeds are numbered about it.
    """

    field: int
    fid: int
    ccdid: int
    qid: int
    ra: float
    dec: float


@dataclass(frozen=True)
class Seeds:
    """Stars that detections are matched to.

    Parameters
    ----------
    objectid : numpy.ndarray (s), int64
        Each once.
    ra, dec : numpy.ndarray (s), float64, deg
        At `mjd0`.
    pmra, pmdec : numpy.ndarray (s), float64, mas/yr
        Proper motion, that in right ascension times cos(dec); 0 where unknown.
    mjd0 : numpy.ndarray (s), float64
        Epoch of the position.
    sigma : numpy.ndarray (s), float64, arcsec
        Error of the position per axis.
    origin : numpy.ndarray (s), int64
        `REFERENCE` or `FOUNDED`.

    Raises
    ------
    UnusableInputError
        If lengths differ, a number is not finite, or an objectid appears twice.
    """

    objectid: Integers
    ra: Floats
    dec: Floats
    pmra: Floats
    pmdec: Floats
    mjd0: Floats
    sigma: Floats
    origin: Integers

    def __post_init__(self) -> None:
        _set(self, "objectid", np.int64)
        _set(self, "origin", np.int64)
        for name in ("ra", "dec", "pmra", "pmdec", "mjd0", "sigma"):
            _set(self, name, np.float64)
        _positions("seeds", self.ra, self.dec)
        is_sorted = bool(
            (self.objectid[1:] > self.objectid[:-1]).all()
        )  # mostly, and ten times as fast to see
        if not is_sorted and len(np.unique(self.objectid)) < len(self):
            raise UnusableInputError("an objectid appears twice among the seeds", subject="seeds")

    def __len__(self) -> int:
        return len(self.objectid)

    def take(self, rows: Integers | Flags) -> Seeds:
        """Return some of the seeds."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Detections:
    """Sources of one or many images of a unit.

    Parameters
    ----------
    pid : numpy.ndarray (n), int64
        Image.
    row : numpy.ndarray (n), int64
        Of the source in the catalogue of the image.
    mjd : numpy.ndarray (n), float64
        Epoch of the image.
    ra, dec : numpy.ndarray (n), float64, deg
    sigma : numpy.ndarray (n), float64, arcsec
        Error of the position per axis.

    Raises
    ------
    UnusableInputError
        If lengths differ, a number is not finite, a source appears twice or an image has two epochs.
    """

    pid: Integers
    row: Integers
    mjd: Floats
    ra: Floats
    dec: Floats
    sigma: Floats

    def __post_init__(self) -> None:
        _set(self, "pid", np.int64)
        _set(self, "row", np.int64)
        for name in ("mjd", "ra", "dec", "sigma"):
            _set(self, name, np.float64)
        _positions("detections", self.ra, self.dec)
        order = self.order()
        pid, row = self.pid[order], self.row[order]
        if ((pid[1:] == pid[:-1]) & (row[1:] == row[:-1])).any():
            raise UnusableInputError("a source appears twice among the detections", subject="detections")
        starts = self.starts(order)[:-1]
        if len(np.unique(pid[starts])) < len(starts):
            raise UnusableInputError("an image has two epochs", subject="detections")

    def __len__(self) -> int:
        return len(self.pid)

    def take(self, rows: Integers | Flags) -> Detections:
        """Return some of the detections."""
        return replace(self, **{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def join(self, other: Detections) -> Detections:
        """Return the detections of both."""
        names = self.__dataclass_fields__
        return Detections(**{name: np.append(getattr(self, name), getattr(other, name)) for name in names})

    def order(self) -> Integers:
        """Return the rows in canonical order: epoch, image, source."""
        if len(self) < 2:
            return np.arange(len(self))
        # Catalogues come in order mostly; to look costs a tenth of sorting.
        ties = (self.mjd[1:] == self.mjd[:-1]) & (
            (self.pid[1:] > self.pid[:-1])
            | ((self.pid[1:] == self.pid[:-1]) & (self.row[1:] >= self.row[:-1]))
        )
        if ((self.mjd[1:] > self.mjd[:-1]) | ties).all():
            return np.arange(len(self))
        return np.lexsort((self.row, self.pid, self.mjd))

    def sorted(self) -> tuple[Detections, Integers]:
        """Return the detections in canonical order, and which rows they are."""
        order = self.order()
        return (self if (order[1:] > order[:-1]).all() else self.take(order)), order

    def starts(self, order: Integers) -> Integers:
        """Return where the images begin in an order of rows, and its end, (images + 1)."""
        pid, mjd = self.pid[order], self.mjd[order]
        begins = np.flatnonzero((pid[1:] != pid[:-1]) | (mjd[1:] != mjd[:-1])) + 1
        first = [0] if len(order) else []
        return np.concatenate([np.array(first, np.int64), begins, np.array([len(order)])]).astype(np.int64)


@dataclass(frozen=True)
class Matches:
    """Which seed each detection is of.

    Parameters
    ----------
    seed : numpy.ndarray (n), int64
        Row of the seed, -1 for none.
    separation : numpy.ndarray (n), float64, arcsec
        From the seed at the epoch of the image; NaN for none.
    """

    seed: Integers
    separation: Floats


def _set(owner: object, name: str, kind: type) -> None:
    """Give a field its type; contiguous and writeable, for a kernel is compiled for each kind of array."""
    values: NDArray[Any] = np.require(getattr(owner, name), dtype=kind, requirements=("C", "W"))
    first = next(iter(owner.__dataclass_fields__))  # type: ignore[attr-defined]
    if values.ndim != 1 or len(values) != len(getattr(owner, first)):
        raise UnusableInputError(f"{name} is not as long as {first}", subject=type(owner).__name__.lower())
    wrong = ~np.isfinite(values)
    if wrong.any():
        raise UnusableInputError(
            f"{name} is not finite", subject=type(owner).__name__.lower(), row=int(np.argmax(wrong))
        )
    object.__setattr__(owner, name, values)


def _positions(subject: str, ra: Floats, dec: Floats) -> None:
    wrong = ~((np.abs(dec) <= 90.0) & (np.abs(ra) <= 720.0))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UnusableInputError(f"({ra[row]}, {dec[row]}) deg is no position on the sky", subject=subject)
