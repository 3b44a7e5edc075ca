"""The past of an exposure's candidates: what was seen there, and what looked there.

Only rows that packets tell of are read whole: those of some weeks, within 1.5 arcsec of a candidate. Of all
years only places and times are, for the counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.near import read_near, read_region
from zsds_tasks.products.packets import PacketSchema
from zsds_tasks.products.tables import load_table
from zsds_tasks.science.alerts.history import LIMIT_FIELDS, History, count_covering
from zsds_tasks.settings import Settings
from zsds_tasks.sky.healpix import unit_vectors
from zsds_tasks.steps.alerts.configuration import AlertsConfig
from zsds_tasks.steps.alerts.facts import (
    CORNERS,
    DIFFERENCES,
    IMAGES,
    ImageFacts,
    Region,
    with_columns,
    with_facts,
)
from zsds_tasks.steps.alerts.forced import forced_photometry
from zsds_tasks.steps.alerts.known import NOTHING_KNOWN
from zsds_tasks.steps.difference.work import CANDIDATES

ARCSEC = 3600.0
ALERTS = "alerts"
INSTANT_D = 1e-6
"""Two exposures never begin within a tenth of a second."""
PLACES = ("candid", "pid", "jd", "field", "rcid", "ra", "dec")
CORNER_TYPES = tuple((name, pa.float64()) for name in CORNERS)


@dataclass(frozen=True)
class Counts:
    """How often the places of candidates were seen and covered, lists (n)."""

    ndethist: list[int]
    ncovhist: list[int]
    jdstarthist: list[float]
    jdendhist: list[float]


class Past:
    """What was detected at an exposure's candidates up to it, and every difference image around.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    triggers : pyarrow.Table (n)
        Of candidates, one exposure's.
    config : AlertsConfig
    """

    def __init__(
        self, lakehouse: Lakehouse, settings: Settings, triggers: pa.Table, config: AlertsConfig
    ) -> None:
        self.lakehouse, self.settings = lakehouse, settings
        self.triggers, self.config = triggers, config
        self.jd = float(triggers["jd"][0].as_py())
        centre = middle_of(triggers)
        radius = min(reach_deg(triggers, centre) + config.neighbourhood_deg, 179.0)
        since, until = self.jd - config.history.days - INSTANT_D, self.jd + INSTANT_D
        self.facts = ImageFacts(lakehouse, settings, Region(centre, radius, since, until))
        self._ever = Region(centre, radius, None, until)

    def history(self, schema: PacketSchema) -> History:
        """Return what packets tell of it."""
        forced = forced_photometry(self.lakehouse, self.settings, self.triggers, self.facts, self.config)
        here = self.triggers, self._detections(schema), self._limits(), forced
        return History(*here, schema, self.config.history)

    def counts(self) -> Counts:
        """Return ndethist and its span on the same field and channel, and ncovhist of any."""
        region, times = self._ever, (None, self._ever.until)
        there = (region.centre, region.radius_deg)
        looked = read_region(
            self.lakehouse.table(DIFFERENCES), *there, ["pid"], {"status": 1, "obsjd": times}
        )["pid"].to_numpy()
        images = read_region(self.lakehouse.table(IMAGES), *there, ["pid", *CORNERS], {"obsjd": times})
        images = images.filter(pa.array(np.isin(images["pid"].to_numpy(), looked)))
        seen = self._near(PLACES, times)
        # Those whose image has no usable row were left by a run that was killed; they are replaced soon.
        seen = seen.filter(pa.array(np.isin(seen["pid"].to_numpy(), looked)))
        of_each, jd = self._same_channel(seen), seen["jd"].to_numpy()
        # Corners are joined by great circles, sides of images bend: near one its own may seem to miss it.
        covered = np.maximum(count_covering(_vectors(self.triggers), images), 1)
        return Counts(
            ndethist=[len(rows) for rows in of_each],
            ncovhist=covered.tolist(),
            jdstarthist=[float(jd[rows].min()) for rows in of_each],
            jdendhist=[float(jd[rows].max()) for rows in of_each],
        )

    def _near(
        self, columns: tuple[str, ...], times: tuple[float | None, float], table: str = CANDIDATES
    ) -> pa.Table:
        places = (self.triggers["ra"].to_numpy(), self.triggers["dec"].to_numpy())
        radius = self.config.history.radius_arcsec
        return read_near(self.lakehouse.table(table), *places, radius, columns, {"jd": times})

    def _detections(self, schema: PacketSchema) -> pa.Table:
        """Return earlier candidates near by with the fields of a packet's history."""
        own = set(load_table(CANDIDATES, self.lakehouse.include).names)
        fields = tuple(name for name in schema.record("prv_candidate").names if name in own)
        times = (self.facts.region.since, self.facts.region.until)
        seen = self._near(fields, times)
        seen = seen.filter(pa.array(np.isin(seen["pid"].to_numpy(), list(self.facts.differences))))
        if not seen.num_rows:
            return pa.table({"ra": pa.array([], pa.float64()), "dec": pa.array([], pa.float64())})
        names = tuple(NOTHING_KNOWN)
        told = {row["candid"]: row for row in self._near(("candid", *names), times, ALERTS).to_pylist()}
        rows = [told.get(candid, {}) for candid in seen["candid"].to_pylist()]
        objects: dict[str, Any] = {}
        for name, (missing, type_) in NOTHING_KNOWN.items():
            values = [row.get(name) for row in rows]
            objects[name] = pa.array([missing if value is None else value for value in values], type_)
        return with_columns(with_facts(seen, self.facts), objects)

    def _same_channel(self, seen: pa.Table) -> list[NDArray[np.int64]]:
        """Return for each trigger the detections at its place on its field and channel."""
        chord = 2 * np.sin(np.radians(self.config.history.radius_arcsec / ARCSEC) / 2)
        near = cKDTree(_vectors(seen)).query_ball_point(_vectors(self.triggers), chord)
        channel, own = (
            table["field"].to_numpy().astype(np.int64) * 1000 + table["rcid"].to_numpy()
            for table in (seen, self.triggers)
        )
        rows = [np.asarray(found, np.int64) for found in near]
        return [found[channel[found] == place] for found, place in zip(rows, own, strict=True)]

    def _limits(self) -> pa.Table:
        """Return the difference images as `History` takes them."""
        rows = []
        for pid, image in self.facts.differences.items():
            facts, corners = self.facts.of(pid), self.facts.images[pid]
            row = {name: facts.get(name) for name in LIMIT_FIELDS} | {name: corners[name] for name in CORNERS}
            row |= {name: image[name] for name in ("pid", "fid", "programid", "rcid", "field")}
            rows.append(row | {"jd": image["obsjd"], "rbversion": "none"})
        return pa.Table.from_pylist(rows) if rows else pa.table({n: pa.array([], t) for n, t in CORNER_TYPES})


def _vectors(table: pa.Table) -> NDArray[np.float64]:
    return unit_vectors(table["ra"].to_numpy(), table["dec"].to_numpy())


def middle_of(table: pa.Table) -> tuple[float, float]:
    """Return the mean direction (ra, dec; degrees) of the rows of a table."""
    x, y, z = _vectors(table).mean(axis=0)
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def reach_deg(table: pa.Table, centre: tuple[float, float]) -> float:
    """Return how far, in degrees, the farthest row lies from a centre (ra, dec; degrees)."""
    middle = unit_vectors(np.array([centre[0]]), np.array([centre[1]]))[0]
    chord = np.linalg.norm(_vectors(table) - middle, axis=1).max()
    return float(np.degrees(2 * np.arcsin(min(chord / 2, 1.0))))
