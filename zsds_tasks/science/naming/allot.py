"""Who gets which name: known objects first, then new names in the order of candid (reference section 7.3).

Called by the one writer of names, once per exposure, with every candidate of the exposure: so no lock is
needed, and the order in which quadrants finish changes nothing. An object stays where it was first
detected: a position that followed its detections would drift along a chain of neighbours.

The same exposure gives the same names again, for three reasons. A candid that has a name keeps it. A
candidate goes to the nearest of the objects that were known then *and* of those this exposure makes, which
is what a second run, that finds both known, does. And an object detected first by a later exposure is
looked at only where there is none that is as old as the candidate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.spatial import cKDTree

from zsds_tasks.declarations import Declaration
from zsds_tasks.science.naming.grammar import ObjectName
from zsds_tasks.sky.healpix import unit_vectors

Floats = NDArray[np.float64]


class NamingConfig(Declaration):
    """When two detections are of one object."""

    radius_arcsec: Annotated[float, Field(gt=0)] = Field(1.5, description="about the first detection")


@dataclass(frozen=True)
class Objects:
    """Objects that have names.

    Parameters
    ----------
    names : tuple of ObjectName (n)
    ra, dec : numpy.ndarray (n), float64, deg
        Of the first detection.
    jd : numpy.ndarray (n), float64
        Of the first detection.
    """

    names: tuple[ObjectName, ...]
    ra: Floats
    dec: Floats
    jd: Floats


@dataclass(frozen=True)
class Detections:
    """Candidates of one exposure that trigger.

    Parameters
    ----------
    candid : numpy.ndarray (n), int64
    ra, dec : numpy.ndarray (n), float64, deg
    jd : float
        Of the exposure.
    named : mapping of int to ObjectName
        Candids that have a name from an earlier run over this exposure.
    """

    candid: NDArray[np.int64]
    ra: Floats
    dec: Floats
    jd: float
    named: Mapping[int, ObjectName] = field(default_factory=dict)


@dataclass(frozen=True)
class Allotment:
    """What the candidates are called.

    Parameters
    ----------
    names : tuple of ObjectName (n)
        In the order of the candidates.
    created : Objects
        New ones, in the order of their names.
    founders : tuple of int
        The candid at whose place each new object stands.
    next_free : ObjectName
        To be handed to the next call.
    """

    names: tuple[ObjectName, ...]
    created: Objects
    founders: tuple[int, ...]
    next_free: ObjectName


def allot_names(
    known: Objects, detections: Detections, next_free: ObjectName, config: NamingConfig
) -> Allotment:
    """Name the candidates of an exposure.

    Parameters
    ----------
    known : Objects
        All within the radius of any candidate; more do no harm.
    detections : Detections
        Of the whole exposure, in any order.
    next_free : ObjectName
        The first free name of the year the exposure was taken in.
    config : NamingConfig

    Returns
    -------
    Allotment

    Raises
    ------
    ValueError
        If a position is not finite, or a candid appears twice.
    """
    places = unit_vectors(detections.ra, detections.dec)
    if not np.isfinite(places).all():
        raise ValueError("candidates without a position cannot be named")
    if len(set(detections.candid.tolist())) < len(places):
        raise ValueError("a candid appears twice among the candidates of an exposure")
    chord = float(2 * np.sin(np.radians(config.radius_arcsec / 3600) / 2))
    old = _Places(unit_vectors(known.ra, known.dec), known.jd, known.names)
    founders = _founders(old, places, detections, chord)
    new_names = tuple(next_free.after(k) for k in range(len(founders)))
    jd = np.full(len(founders), detections.jd)
    both = _Places(
        np.concatenate([old.vectors, places[founders]]),
        np.concatenate([old.jd, jd]),
        (*known.names, *new_names),
    )
    chosen = both.choose(places, detections.jd, chord)
    names = tuple(
        detections.named.get(int(candid)) or both.names[k]
        for candid, k in zip(detections.candid, chosen, strict=True)
    )
    created = Objects(new_names, detections.ra[founders], detections.dec[founders], jd)
    return Allotment(
        names,
        created,
        tuple(int(detections.candid[k]) for k in founders),
        next_free.after(len(founders)) if founders else next_free,
    )


@dataclass(frozen=True)
class _Places:
    """Objects as unit vectors."""

    vectors: Floats
    jd: Floats
    names: Sequence[ObjectName]

    def choose(self, places: Floats, jd: float, chord: float) -> list[int]:
        """Return for each place the object it belongs to; -1 if there is none near."""
        near = _near(self.vectors, places, chord)
        return [self._best(place, indices, jd) for place, indices in zip(places, near, strict=True)]

    def _best(self, place: Floats, indices: list[int], jd: float) -> int:
        """Return the nearest, those first that are as old as the place; of equally near ones the oldest."""
        return min(
            indices,
            key=lambda k: (
                bool(self.jd[k] > jd),
                float(np.square(self.vectors[k] - place).sum()),
                float(self.jd[k]),
                self.names[k],
            ),
            default=-1,
        )


def _founders(old: _Places, places: Floats, detections: Detections, chord: float) -> list[int]:
    """Return the candidates at which new objects are made, in the order of candid.

    They have no known object near and no founder before them; those that have a name already found nothing.
    """
    matched = old.choose(places, detections.jd, chord)
    beside = _near(places, places, chord)
    founders: list[int] = []
    is_founder = np.zeros(len(places), bool)
    for k in np.argsort(detections.candid, kind="stable").tolist():
        if matched[k] >= 0 or int(detections.candid[k]) in detections.named:
            continue
        if not is_founder[beside[k]].any():
            is_founder[k] = True
            founders.append(k)
    return founders


def _near(vectors: Floats, places: Floats, chord: float) -> list[list[int]]:
    """Return for each place the vectors within a chord; the border is decided by one and the same sum.

    Whether two places are near must not depend on which of them is asked, nor on how a tree was cut.
    """
    if not len(vectors) or not len(places):
        return [[] for _ in places]
    wider = cKDTree(vectors).query_ball_point(places, chord * (1 + 1e-6))
    return [
        [k for k in indices if float(np.square(vectors[k] - place).sum()) <= chord * chord]
        for place, indices in zip(places, wider, strict=True)
    ]
