"""How likely a candidate is real: the real-bogus models on stamps cut from the images in memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from zsds_tasks.science.alerts.cutouts import cut_stamp
from zsds_tasks.science.realbogus.models import load_models
from zsds_tasks.science.realbogus.score import score_candidates
from zsds_tasks.science.realbogus.triplets import SIZE
from zsds_tasks.settings import Settings

Image = NDArray[np.float32]
Images = tuple[Image, Image, Image]


def model_versions(settings: Settings) -> list[str]:
    """Return which models score; they are inputs of the processing version."""
    return [f"model {version}" for version in load_models(settings.include).versions]


def score(rows: pa.Table, images: Images, settings: Settings) -> pa.Table:
    """Return rows of candidates with the scores of those that an alert may be made of.

    Parameters
    ----------
    rows : pyarrow.Table
        Of candidates.
    images : tuple of numpy.ndarray (ny, nx), float32, DN
        Science, reference on its grid, difference.
    settings : Settings
        Its declarations name the models, and how strong a candidate must be to be scored.
    """
    models = load_models(settings.include)
    strong = rows.filter(pc.greater_equal(rows["scorr"], models.config.least_scorr))
    return score_candidates(rows, triplets(strong, images, SIZE), models)


def triplets(rows: pa.Table, images: Images, size: int) -> Image:
    """Return stamps (n, 3, size, size) float32 about candidates, as packets show them.

    The difference of a fainter one is turned round; where an image ends there is NaN.
    """
    places = zip(*(rows.column(name).to_pylist() for name in ("xpos", "ypos", "isdiffpos")), strict=True)
    out = np.full((rows.num_rows, len(images), size, size), np.nan, np.float32)
    for triplet, (xpos, ypos, is_positive) in zip(out, places, strict=True):
        top, left = (max(size // 2 - int(np.floor(place - 0.5)), 0) for place in (ypos, xpos))
        for stamp, image in zip(triplet, images, strict=True):
            cut = cut_stamp(image, xpos, ypos, size)
            stamp[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
        if not is_positive:
            np.negative(triplet[2], out=triplet[2])
    return out
