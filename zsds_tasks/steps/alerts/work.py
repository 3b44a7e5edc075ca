"""Which difference images are to alert, and which of their candidates trigger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_region
from zsds_tasks.science.alerts.select import select_alerts
from zsds_tasks.steps.alerts.configuration import AlertsConfig
from zsds_tasks.steps.alerts.facts import DIFFERENCES
from zsds_tasks.steps.alerts.names import ALERTS
from zsds_tasks.steps.alerts.past import middle_of, reach_deg
from zsds_tasks.steps.difference.work import CANDIDATES

Row = Mapping[str, Any]
COLUMNS = ("pid", "expid", "obsjd", "ra", "dec", "path", "products", "processing_version")


def alert_work(
    lakehouse: Lakehouse, night: str | None = None, expids: Sequence[int] | None = None
) -> list[tuple[int, dict[int, Row]]]:
    """Return exposures with usable difference images that have not alerted, by pid, in order of time."""
    where: dict[str, Any] = {"night": night} if night else {}
    where |= {"expid": list(expids)} if expids is not None else {}
    found: dict[tuple[float, int], dict[int, Row]] = defaultdict(dict)
    done = set(lakehouse.table(ALERTS).read(["pid"], where)["pid"].to_pylist())
    for row in lakehouse.table(DIFFERENCES).read(COLUMNS, where | {"status": 1}).to_pylist():
        if row["pid"] not in done:
            found[row["obsjd"], row["expid"]][row["pid"]] = row
    return [(expid, found[jd, expid]) for jd, expid in sorted(found)]


def triggers_of(
    lakehouse: Lakehouse, expid: int, images: Mapping[int, Row], least_score: float, config: AlertsConfig
) -> tuple[pa.Table, dict[str, int]]:
    """Return the candidates of some images of an exposure that trigger, and how many do not, by reason.

    Parameters
    ----------
    lakehouse : Lakehouse
    expid : int
    images : mapping
        Rows of difference_images by pid.
    least_score : float
        Of a candidate that has stamps.
    config : AlertsConfig
    """
    where = {"expid": expid, "pid": sorted(images), "scorr": (least_score, None)}
    table = lakehouse.table(CANDIDATES)
    middles = pa.table({name: [image[name] for image in images.values()] for name in ("ra", "dec")})
    centre = middle_of(middles)
    radius = min(reach_deg(middles, centre) + config.neighbourhood_deg, 179.0)
    candidates = read_region(table, centre, radius, table.declaration.names, where)
    selection = select_alerts(candidates, config.trigger)
    return candidates.filter(pa.array(selection.triggers)), selection.refused
