"""The past of an exposure's candidates: what was seen there, and what looked there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.packets import PacketSchema
from zsds_tasks.science.alerts.history import LIMIT_FIELDS, History, covering
from zsds_tasks.sky.healpix import unit_vectors
from zsds_tasks.steps.alerts.configuration import AlertsConfig
from zsds_tasks.steps.alerts.facts import CORNERS, DIFFERENCES, ImageFacts, with_facts
from zsds_tasks.steps.difference.work import CANDIDATES

ARCSEC = 3600.0


@dataclass(frozen=True)
class Counts:
    """How often the places of candidates were seen and covered, lists (n)."""

    ndethist: list[int]
    ncovhist: list[int]
    jdstarthist: list[float]
    jdendhist: list[float]


class Past:
    """All that was detected near an exposure's candidates up to it, and every difference image around.

    Parameters
    ----------
    lakehouse : Lakehouse
    triggers : pyarrow.Table (n)
        Of candidates, one exposure's.
    config : AlertsConfig
    """

    def __init__(self, lakehouse: Lakehouse, triggers: pa.Table, config: AlertsConfig) -> None:
        self.triggers, self.config = triggers, config
        jd = float(triggers["jd"][0].as_py())
        ra, dec = middle_of(triggers)
        reach = reach_deg(triggers, (ra, dec)) + config.neighbourhood_deg
        images = lakehouse.table(DIFFERENCES).cone(ra, dec, min(reach, 179.0) * ARCSEC)
        images = images.filter((pc.field("obsjd") <= jd) & (pc.field("status") == 1))
        self._images = images
        self.facts = ImageFacts(lakehouse, images["pid"].to_pylist())
        near = lakehouse.table(CANDIDATES).cone(ra, dec, min(reach, 179.0) * ARCSEC)
        # Those whose image has no usable row were left by a run that was killed; they are replaced soon.
        self.detections = near.filter(pc.is_in(near["pid"], images["pid"].combine_chunks()))

    def history(self, schema: PacketSchema) -> History:
        """Return what packets tell of it; forced photometry comes with its own step."""
        nothing = pa.table({"ra": pa.array([], pa.float64()), "dec": pa.array([], pa.float64())})
        detections = with_facts(self.detections, self.facts) if self.detections.num_rows else nothing
        return History(self.triggers, detections, self._limits(), nothing, schema, self.config.history)

    def counts(self) -> Counts:
        """Return ndethist and its span on the same field and channel, and ncovhist of any."""
        here = _vectors(self.triggers)
        seen = self._seen(here)
        images = self._limits()
        looked = covering(here, images)
        jd = self.detections["jd"].to_numpy()
        return Counts(
            ndethist=[len(rows) for rows in seen],
            # Corners are joined by great circles, sides of images bend: near one its own may seem to miss it.
            ncovhist=[max(len(rows), 1) for rows in looked],
            jdstarthist=[float(jd[rows].min()) for rows in seen],
            jdendhist=[float(jd[rows].max()) for rows in seen],
        )

    def _seen(self, here: NDArray[np.float64]) -> list[NDArray[np.int64]]:
        chord = 2 * np.sin(np.radians(self.config.history.radius_arcsec / ARCSEC) / 2)
        near = cKDTree(_vectors(self.detections)).query_ball_point(here, chord)
        field, rcid = (self.detections[name].to_numpy() for name in ("field", "rcid"))
        own = zip(self.triggers["field"].to_pylist(), self.triggers["rcid"].to_pylist(), strict=True)
        return [
            np.array([row for row in rows if (field[row], rcid[row]) == place], np.int64)
            for rows, place in zip(near, own, strict=True)
        ]

    def _limits(self) -> pa.Table:
        """Return the difference images as `History` takes them."""
        rows = []
        for image in self._images.to_pylist():
            facts, corners = self.facts.of(image["pid"]), self.facts.images[image["pid"]]
            row = {name: facts.get(name) for name in LIMIT_FIELDS} | {name: corners[name] for name in CORNERS}
            row |= {name: image[name] for name in ("pid", "fid", "programid", "rcid", "field")}
            rows.append(row | {"jd": image["obsjd"], "rbversion": "none"})
        schema = [(name, pa.float64()) for name in CORNERS]
        return pa.Table.from_pylist(rows) if rows else pa.table({n: pa.array([], t) for n, t in schema})


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
