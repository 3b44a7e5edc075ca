"""Scores of candidates: rb from measures of them and of their stamps, drb from the stamps themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from zsds_tasks.science.realbogus.features import feature_matrix
from zsds_tasks.science.realbogus.models import Model, Models
from zsds_tasks.science.realbogus.triplets import normalise_triplets


def score_candidates(candidates: pa.Table, stamps: NDArray[np.floating], models: Models) -> pa.Table:
    """Return candidates with their scores.

    Parameters
    ----------
    candidates : pyarrow.Table (n)
        Rows of `candidates`.
    stamps : numpy.ndarray (m, 3, 63, 63), float32
        Science, reference, difference, NaN where there is nothing: of every candidate (m = n), or of
        those with scorr of at least `least_scorr`, in their order. Those of the others are not looked at.
    models : Models

    Returns
    -------
    pyarrow.Table (n)
        The same with rb, rbversion, drb, drbversion set: null and "" where there is no model, and for
        candidates under `least_scorr`.

    Raises
    ------
    ValueError
        If the number of stamps is neither.
    """
    scorr = np.asarray(candidates.column("scorr").to_numpy(zero_copy_only=False), np.float64)
    strong = np.flatnonzero(scorr >= models.config.least_scorr)
    if len(stamps) not in {len(scorr), len(strong)}:
        raise ValueError(f"{len(stamps)} triplets of {len(scorr)} candidates, {len(strong)} of them to score")
    table = candidates
    rb = drb = np.zeros(0, np.float32)
    chosen = stamps if len(stamps) == len(strong) else stamps[strong]
    if models.features and len(strong):
        rb = models.features.probabilities(feature_matrix(candidates.take(pa.array(strong)), chosen))
    if models.images and len(strong):
        parts = [
            models.images.probabilities(normalise_triplets(chosen[k : k + models.config.batch]))
            for k in range(0, len(chosen), models.config.batch)
        ]
        drb = np.concatenate(parts)
    for name, values, model in (("rb", rb, models.features), ("drb", drb, models.images)):
        table = _with_scores(table, name, values, strong, model)
    return table


def _with_scores(
    table: pa.Table, name: str, values: NDArray[np.float32], rows: NDArray[np.intp], model: Model | None
) -> pa.Table:
    n = table.num_rows
    scores, known = np.zeros(n, np.float32), np.zeros(n, bool)
    scores[rows[: len(values)]], known[rows[: len(values)]] = values, True
    version = model.card.version if model else ""
    versions = np.where(known, version, "").astype(object)
    for column, array in (
        (name, pa.array(scores, mask=~known)),
        (f"{name}version", pa.array(versions.tolist(), pa.string())),
    ):
        table = _replaced(table, column, array)
    return table


def _replaced(table: pa.Table, name: str, values: Any) -> pa.Table:
    """Return the table with a column's values, its type and place kept."""
    if name not in table.column_names:
        return table.append_column(name, values)
    place = table.schema.get_field_index(name)
    return table.set_column(place, table.schema.field(place), values.cast(table.schema.field(place).type))
