"""What the report says of calibrated images, read from the lakehouse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.checks import to_pandas
from zsds_tasks.steps.report.gather import NightFacts
from zsds_tasks.survey.survey import Filter

CELLS = 4
"""Residuals are given on a grid of so many cells along each side of a quadrant."""
_IMAGES = (
    *("expid", "rcid", "ccdid", "qid", "obsjd", "exptime", "field", "fid", "filtercode", "status"),
    *(
        "infobits",
        "stage",
        "reason",
        "airmass",
        "seeing",
        "magzp",
        "maglimit",
        "clrcoeff",
        "path",
        "products",
    ),
)
_QUALITY = (
    *("expid", "rcid", "sky", "n_sources", "rms_bright", "zp30", "astrometry_cells", "zp_cells"),
    *("masked_fraction", "core_seconds"),
)
Row = dict[str, Any]


@dataclass(frozen=True)
class ScienceFacts:
    """The processed channels of a night's science exposures.

    Parameters
    ----------
    night : NightFacts
    images : pandas.DataFrame
        Rows of `science_images` beside those of `image_quality`, in order of time; at least one. What was not
        measured is missing.
    """

    night: NightFacts
    images: pd.DataFrame

    @property
    def good(self) -> pd.DataFrame:
        """Images that may be used."""
        return self.images[self.images["status"] == 1]

    @property
    def failed(self) -> pd.DataFrame:
        """Images that failed or must not be used."""
        return self.images[self.images["status"] != 1]

    @property
    def filters(self) -> list[Filter]:
        """Filters with an image that may be used."""
        fids = set(self.good["fid"])
        return [f for f in self.night.survey.filters if f.fid in fids]

    def of_channels(self, column: str, fid: int) -> pd.Series:
        """Return what each channel has in one filter, by rcid.

        It is the median of how it differs from its exposures, put on the median exposure: a channel that
        failed under clouds is not taken for a better one.
        """
        rows = self.good[(self.good["fid"] == fid) & self.good[column].notna()]
        exposures = rows.groupby("expid")[column].transform("median")
        differences = (rows[column] - exposures).groupby(rows["rcid"]).median()
        return differences + exposures.median()


def gather_science(lakehouse: Lakehouse, night: NightFacts) -> ScienceFacts | None:
    """Read the rows of a night.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : NightFacts
        The versions of the tables read are added to its own.

    Returns
    -------
    ScienceFacts or None
        None if no channel of the night was processed.
    """
    frames = {}
    for name, columns in (("science_images", _IMAGES), ("image_quality", _QUALITY)):
        table = lakehouse.table(name)
        version = table.version()
        if version is None:
            frames[name] = to_pandas(table.read(columns))
            continue
        where = {"night": str(night.night)}
        frames[name] = to_pandas(table.read(columns, where=where, version=version))
        night.versions[name] = version
    images = frames["science_images"]
    if images.empty:
        return None
    rows = images.merge(frames["image_quality"], on=["expid", "rcid"], how="left")
    # Without any value a column comes as objects, which have no median.
    for column in rows.columns.difference(["astrometry_cells", "zp_cells", "path", "products"]):
        if rows[column].dtype == object and rows[column].isna().all():
            rows[column] = np.nan
    return ScienceFacts(night, rows.sort_values(["obsjd", "rcid"], ignore_index=True))


def cell_medians(rows: pd.DataFrame, column: str, width: int) -> dict[int, NDArray[np.float32]]:
    """Return the medians over images of gridded residuals, channel by channel.

    Parameters
    ----------
    rows : pandas.DataFrame
    column : str
        Of lists: `CELLS` x `CELLS` cells row by row, each of `width` numbers; missing where not measured.
    width : int

    Returns
    -------
    dict of numpy.ndarray (CELLS, CELLS, width), float32
        By rcid; NaN in cells that were never measured.
    """
    found = {}
    for rcid, values in rows.groupby("rcid")[column]:
        whole = [np.asarray(v, np.float32) for v in values if v is not None and np.size(v)]
        whole = [v for v in whole if v.size == CELLS * CELLS * width]
        if whole:
            found[int(str(rcid))] = nan_median(np.stack(whole)).reshape(CELLS, CELLS, width)
    return found


def nan_median(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the median along the first axis of what is a number; NaN, without a warning, of none."""
    ordered = np.sort(values, axis=0)  # NaN go last
    count = np.isfinite(ordered).sum(axis=0)
    low, high = np.maximum((count - 1) // 2, 0), np.maximum(count // 2, 0)
    pick = [np.take_along_axis(ordered, n[None], axis=0)[0] for n in (low, high)]
    return np.where(count > 0, (pick[0] + pick[1]) / 2, np.nan).astype(np.float32)


def rows_of(frame: pd.DataFrame) -> Iterator[Row]:
    """Yield rows as mappings."""
    for row in frame.to_dict("records"):
        yield {str(name): value for name, value in row.items()}
