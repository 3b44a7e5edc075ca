"""Reads what was planted where candidates were found: one image and the epochs of its reference at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.dataset as ds

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.simulator.candidate_changes import (
    EVENTS,
    VARIABLE,
    Changes,
    ReferenceSky,
    changes_of,
    flux_of,
    kinds_of,
)
from zsds_tasks.simulator.score_matching import PEAK_OF_FLUX, Columns, columns_of, rows_of
from zsds_tasks.simulator.score_science import COLOURS
from zsds_tasks.simulator.truth.artefacts import ARTEFACT_SCHEMA, DEFECT_SCHEMA
from zsds_tasks.simulator.truth.recipe import TABLE as RECIPE
from zsds_tasks.simulator.truth.tables import read_truth, truth_path
from zsds_tasks.survey.camera import load_camera
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

Key = tuple[int, int]
Row = Mapping[str, Any]
Weights = dict[int, float]
_COLUMNS = (
    *("expid", "object_id", "kind", "x", "y", "ra", "dec", "mag", "electrons", "flux_dn"),
    *("rate_east", "rate_north"),
)
_ARTEFACT, _DEFECT = ("expid", "kind", "x", "y", "x_end", "y_end", "radius"), ("kind", "x", "y")
WIDENING = 1.3
"""FWHM on the detector over the seeing before pixels, about."""


@dataclass(frozen=True)
class ImageTruth:
    """All that is true of one image where candidates may be.

    Parameters
    ----------
    changes : Changes
    sources : Columns
        Of the image: object_id, kind, ra, dec, x, y, flux (1 is magnitude 20), saturated.
    artefacts, defects : Columns
        See `candidate_artefacts.Surroundings`.
    passing : Columns
        ra, dec, flux of bodies that single epochs of the reference show.
    exposure : mapping
        Row of the truth of exposures.
    """

    changes: Changes
    sources: Columns
    artefacts: Columns
    defects: Columns
    passing: Columns
    exposure: Row


class TruthOfCandidates:
    """Reads truth image by image, best channel by channel; the last channel and reference are remembered.

    Parameters
    ----------
    truth : Path
    night : ObservingNight
    lakehouse : Lakehouse

    Raises
    ------
    NothingToDoError
        If the night was not simulated here.
    """

    def __init__(self, truth: Path, night: ObservingNight, lakehouse: Lakehouse) -> None:
        self.truth, self.night, self.lakehouse = truth, night, lakehouse
        recipe = read_truth(truth, night, RECIPE).to_pylist()[0]
        self.camera = load_camera(recipe["camera"], lakehouse.include)
        survey = load_survey(self.camera.survey, lakehouse.include)
        self.filters = {f.fid: f.name for f in survey.filters}
        self.exposures = {row["expid"]: row for row in read_truth(truth, night, "exposures").to_pylist()}
        objects = read_truth(truth, night, "objects")
        self._objects = columns_of(objects.select(["object_id", "g", "r", "i"]).sort_by("object_id"))
        self._epochs = _Epochs(lakehouse)
        self._channel: tuple[int, dict[str, Columns]] = (-1, {})
        self._references: dict[tuple[int, Key], ReferenceSky | None] = {}

    def image(self, expid: int, rcid: int, reference: Key) -> ImageTruth:
        """Return what is true of one image.

        Parameters
        ----------
        expid, rcid : int
        reference : (rfid, version)
        """
        exposure = self.exposures[expid]
        rows = self._of_channel("detections", rcid)
        rows = rows_of(rows, rows["expid"] == expid)
        artefacts = self._of_channel("artefacts", rcid)
        there = self._reference(rcid, reference)
        if there is None:
            there = ReferenceSky.of_means(
                rows | {"mean_mag": self._means(rows["object_id"], exposure["fid"])}
            )
        return ImageTruth(
            changes=changes_of(rows, there, exposure),
            sources=rows | {"flux": flux_of(rows["mag"]), "saturated": self._saturated(rows, exposure, rcid)},
            artefacts=rows_of(artefacts, artefacts["expid"] == expid),
            defects=self._of_channel("defects", rcid),
            passing={"ra": there.passing_ra, "dec": there.passing_dec, "flux": there.passing_flux},
            exposure=exposure,
        )

    def _of_channel(self, name: str, rcid: int) -> Columns:
        """Return a truth table's rows of one channel; those of the last channel are remembered."""
        if rcid != self._channel[0]:
            where = pc.field("rcid") == rcid
            rows = {
                "detections": self._detections(self.night, where),
                "artefacts": self._table("artefacts", _ARTEFACT, where, ARTEFACT_SCHEMA),
                "defects": self._table("defects", _DEFECT, where, DEFECT_SCHEMA),
            }
            self._channel = (rcid, rows)
        return self._channel[1][name]

    def _reference(self, rcid: int, key: Key) -> ReferenceSky | None:
        """Return what a reference shows of a channel; None if none of its epochs has truth."""
        if (rcid, key) not in self._references:
            self._references = {(rcid, key): self._averaged(rcid, self._epochs.of(key))}
        return self._references[rcid, key]

    def _averaged(self, rcid: int, epochs: Mapping[str, Weights]) -> ReferenceSky | None:
        parts: list[Columns] = []
        known: Weights = {}
        for name, weights in epochs.items():
            night = ObservingNight.parse(name)
            if not truth_path(self.truth, night, "detections").exists():
                continue
            # What comes and goes may lie on a neighbour in a dithered epoch: absent means dark.
            either = (pc.field("rcid") == rcid) | pc.field("kind").isin([*EVENTS, VARIABLE])
            parts.append(self._detections(night, pc.field("expid").isin(list(weights)) & either))
            known |= weights
        if not known:
            return None
        rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        # Exposures are many rows each: their weights are looked up once.
        expids, place = np.unique(rows["expid"], return_inverse=True)
        rows["weight"] = np.array([known[expid] for expid in expids.tolist()])[place]
        return ReferenceSky.of_epochs(rows, sum(known.values()))

    def _detections(self, night: ObservingNight, where: pc.Expression) -> Columns:
        path = truth_path(self.truth, night, "detections")
        table = ds.dataset(path).to_table(columns=list(_COLUMNS), filter=where)
        rows = columns_of(table.drop_columns(["kind"])) | {"kind": kinds_of(table)}
        return rows | {"natural": natural_flux(rows)}

    def _table(self, name: str, columns: tuple[str, ...], where: pc.Expression, schema: Any) -> Columns:
        path = truth_path(self.truth, self.night, name)
        if not path.exists():
            table = schema.empty_table().select(list(columns))
        else:
            table = ds.dataset(path).to_table(columns=list(columns), filter=where)
        return columns_of(table.drop_columns(["kind"])) | {"kind": kinds_of(table)}

    def star_colour(self, known: ImageTruth) -> float:
        """Return the median colour of an image's stars, of that colour which its zero point knows."""
        blue, red = COLOURS[self.filters[known.exposure["fid"]]]
        stars = known.sources["object_id"][known.sources["kind"] == "star"]
        colour = self._means(stars, blue) - self._means(stars, red)
        colour = colour[np.isfinite(colour)]
        return float(np.median(colour)) if len(colour) else 0.0

    def _means(self, object_id: Any, band: str) -> Any:
        """Return the mean magnitudes of objects in a filter (transients: at peak); NaN where unknown."""
        known = self._objects["object_id"]
        if not len(known):
            return np.full(len(object_id), np.nan)
        row = np.minimum(np.searchsorted(known, object_id), len(known) - 1)
        return np.where(known[row] == object_id, self._objects[band][row], np.nan)

    def _saturated(self, rows: Columns, exposure: Row, rcid: int) -> Any:
        scale = self.camera.mosaic.pixel_scale_arcsec
        fwhm = max(exposure["seeing_fwhm_arcsec"] * WIDENING / scale, 1.0)
        return PEAK_OF_FLUX * rows["flux_dn"] / fwhm**2 > self.camera.quadrants[rcid].detector.saturation


def natural_flux(rows: Columns) -> Any:
    """Return fluxes without colour terms: the median star of each exposure has what its magnitude says.

    Parameters
    ----------
    rows : Columns
        expid, kind, mag, electrons.
    """
    expected = flux_of(rows["mag"])
    found = expected.copy()
    for expid in np.unique(rows["expid"]):
        here = rows["expid"] == expid
        stars = here & (rows["kind"] == "star")
        if stars.any():
            found[here] = rows["electrons"][here] / np.median(rows["electrons"][stars] / expected[stars])
    return found


class _Epochs:
    """Which exposures went into references, and with which weights: as depth, like a co-add's own."""

    def __init__(self, lakehouse: Lakehouse) -> None:
        self._lakehouse = lakehouse
        self._known: dict[Key, dict[str, Weights]] = {}

    def of(self, key: Key) -> Mapping[str, Weights]:
        """Return the exposures of a reference by night; nothing of one that has no row."""
        if key not in self._known:
            where = {"rfid": key[0], "version": key[1]}
            rows = self._lakehouse.table("references").read(["epochs"], where).to_pylist()
            self._known[key] = self._by_night(rows[0]["epochs"] if rows else ())
        return self._known[key]

    def _by_night(self, pids: Iterable[int]) -> dict[str, Weights]:
        wanted = list(pids)
        if not wanted:
            return {}
        columns = ["expid", "night", "maglimit"]
        images = self._lakehouse.table("science_images").read(columns, {"pid": wanted}).to_pylist()
        deepest = max((row["maglimit"] or 0.0 for row in images), default=0.0)
        found: dict[str, Weights] = {}
        for row in images:
            # Inverse variance of a point source's flux.
            weight = 10 ** (0.8 * ((row["maglimit"] or deepest) - deepest))
            found.setdefault(row["night"], {})[row["expid"]] = weight
        return found
