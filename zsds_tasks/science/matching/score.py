"""How well objects are the stars: what truth says of them. For tests, benchmarks and reports only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zsds_tasks.science.matching.rows import Flags, Integers


@dataclass(frozen=True)
class MatchingScore:
    """Counts of stars by what became of them.

    Parameters
    ----------
    stars : int
        That were detected at all.
    split : int
        With more than one object of their own, even if the second holds a single row.
    merged : int
        At least half of whose rows with an object are in that of another star.
    missed : int
        None of whose rows has an object.
    rows, stray : int
        Rows of stars that have an object; those of them in an object of another star.
    """

    stars: int
    split: int
    merged: int
    missed: int
    rows: int
    stray: int

    @property
    def wrong_share(self) -> float:
        """Split and merged stars over all."""
        return (self.split + self.merged) / max(self.stars, 1)


def score_objects(star: Integers, objectid: Integers, counted: Flags | None = None) -> MatchingScore:
    """Hold objects against truth.

    An object is of the star that has most of its rows; of equal ones, of the lower number.

    Parameters
    ----------
    star : numpy.ndarray (n), int64
        True star of each row (a detection or a seed); -1 for none.
    objectid : numpy.ndarray (n), int64
        Its object; -1 for none.
    counted : numpy.ndarray (stars), bool, optional
        Which stars to count, such as isolated ones; all by default.

    Returns
    -------
    MatchingScore
    """
    real = star >= 0
    detected = np.unique(star[real])
    has = real & (objectid >= 0)
    pairs, counts = np.unique(np.stack([objectid[has], star[has]], axis=1), axis=0, return_counts=True)
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    pairs, counts = pairs[order], counts[order]
    is_owner = np.diff(pairs[:, 0], prepend=-2) != 0
    size = int(star.max(initial=-1)) + 1
    owned = np.bincount(pairs[is_owner, 1], minlength=size)
    rows = np.bincount(pairs[:, 1], weights=counts, minlength=size).astype(np.int64)
    stray = np.bincount(pairs[~is_owner, 1], weights=counts[~is_owner], minlength=size).astype(np.int64)
    judged = detected if counted is None else detected[counted[detected]]
    return MatchingScore(
        stars=len(judged),
        split=int((owned[judged] > 1).sum()),
        merged=int(((rows > 0) & (2 * stray >= rows))[judged].sum()),
        missed=int((rows[judged] == 0).sum()),
        rows=int(rows[judged].sum()),
        stray=int(stray[judged].sum()),
    )
