"""How good calibrated images and catalogues of a simulated night are, against what was planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.simulator.instrument.instrument import Instrument
from zsds_tasks.simulator.score import Measure
from zsds_tasks.simulator.score_masks import MaskScore, score_masks
from zsds_tasks.simulator.score_matching import Channel, Columns, columns_of, match_sources, rows_of
from zsds_tasks.simulator.score_samples import Samples
from zsds_tasks.simulator.score_seeing import true_fwhm_arcsec
from zsds_tasks.simulator.score_verdict import curves_of, measures_of
from zsds_tasks.simulator.truth.recipe import instrument_of
from zsds_tasks.simulator.truth.tables import read_truth, truth_path
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import load_survey

Row = dict[str, Any]
COLOURS = {"g": ("g", "r"), "r": ("g", "r"), "i": ("r", "i")}
"""By filter: the colour its coefficient belongs to (reference section 4.5)."""
_IMAGE = (
    *("expid", "rcid", "fid", "status", "seeing", "magzp", "clrcoeff", "maglimit", "saturate"),
    *("path", "products"),
)
_SOURCE = (
    *("rcid", "xpos", "ypos", "ra", "dec", "sigpos", "flux", "sigflux", "mag", "snr", "flags", "class_star"),
)
_TRUTH = ("rcid", "object_id", "kind", "x", "y", "ra", "dec", "mag", "flux_dn")
_NEEDED = ("seeing", "magzp", "clrcoeff", "maglimit", "saturate")
_ARTEFACT = ("kind", "x", "y", "x_end", "y_end", "radius", "electrons")


@dataclass(frozen=True)
class ScienceScore:
    """Numbers and curves of one night.

    Parameters
    ----------
    measures : list of Measure
        Empty if the night has no science images, or is not a simulated one.
    curves : dict
        For JSON, some kilobytes: ``completeness``, ``limit``, ``pulls``, ``repeatability``, ``flux_bias``,
        ``astrometry``, each with lists of equal length; see `zsds_tasks.simulator.score_verdict`.
    """

    measures: list[Measure]
    curves: dict[str, Any]


def score_science(lakehouse: Lakehouse, truth: Path, night: ObservingNight) -> list[Measure]:
    """Return the numbers of `assess_science` alone."""
    return assess_science(lakehouse, truth, night).measures


def assess_science(lakehouse: Lakehouse, truth: Path, night: ObservingNight) -> ScienceScore:
    """Compare the calibrated images and sources of a simulated night with its truth.

    Parameters
    ----------
    lakehouse : Lakehouse
    truth : Path
        Folder of truth tables.
    night : ObservingNight

    Returns
    -------
    ScienceScore
        One exposure is in memory at a time, and of each image at most some hundred stars are kept.
    """
    images = lakehouse.table("science_images").read(_IMAGE, where={"night": str(night)}).to_pylist()
    if not images:
        return ScienceScore([], {})
    try:
        instrument = instrument_of(truth, night, lakehouse.include)
        reader = TruthReader(truth, night, instrument, lakehouse)
    except NothingToDoError:
        return ScienceScore([], {})
    good = [row for row in images if row["status"] == 1 and all(row[name] is not None for name in _NEEDED)]
    samples, seeing = Samples(), [reader.seeing_ratio(row) for row in good]
    for expid in sorted({row["expid"] for row in good}):
        found = columns_of(
            lakehouse.table("sources").read(_SOURCE, where={"expid": expid, "night": str(night)})
        )
        true = reader.detections(expid)
        for row in (row for row in good if row["expid"] == expid):
            channel = reader.channel(row)
            here = rows_of(true, true["rcid"] == channel.rcid)
            there = rows_of(found, found["rcid"] == channel.rcid)
            samples.add(here, there, match_sources(here, there, channel), channel)
    masks = _masks(lakehouse, night, good, reader)
    numbers = measures_of(samples, seeing, len(good) / len(images), len(images))
    return ScienceScore([*numbers, *masks.measures()], curves_of(samples, reader.filters))


def with_science(report: Mapping[str, Any], science: ScienceScore) -> dict[str, Any]:
    """Return a score as the night's report takes it, with these measures behind its own and the curves."""
    measures: Sequence[Any] = [*report["measures"], *map(asdict, science.measures)]
    return dict(report) | {"measures": measures, "curves": science.curves}


class TruthReader:
    """Reads what was planted, exposure by exposure.

    Parameters
    ----------
    truth : Path
    night : ObservingNight
    instrument : Instrument
        As it took the night.
    lakehouse : Lakehouse
        Names the declarations.

    Raises
    ------
    NothingToDoError
        If the night was not simulated here.
    """

    def __init__(
        self, truth: Path, night: ObservingNight, instrument: Instrument, lakehouse: Lakehouse
    ) -> None:
        self.truth, self.night, self.instrument = truth, night, instrument
        survey = load_survey(instrument.camera.survey, lakehouse.include)
        self.filters = {f.fid: f.name for f in survey.filters}
        self.exposures = {row["expid"]: row for row in read_truth(truth, night, "exposures").to_pylist()}
        objects = read_truth(truth, night, "objects").select(["object_id", "g", "r", "i"])
        self._objects = columns_of(objects.sort_by("object_id"))

    def detections(self, expid: int) -> Columns:
        """Return everything true of one exposure, with the columns that `score_samples` needs."""
        rows = self._rows("detections", _TRUTH, pc.field("expid") == expid)
        columns = columns_of(rows.drop_columns(["kind"]))
        for kind in ("star", "galaxy"):
            columns[f"is_{kind}"] = pc.equal(rows.column("kind"), kind).to_numpy()
        columns["colour"] = self._colours(columns["object_id"], self.exposures[expid]["fid"])
        columns["is_star"] &= np.isfinite(columns["colour"])
        return columns

    def artefacts(self, expid: int, rcid: int) -> list[Row]:
        """Return what was planted on one channel beside the sky."""
        where = (pc.field("expid") == expid) & (pc.field("rcid") == rcid)
        return list(self._rows("artefacts", _ARTEFACT, where).to_pylist())

    def channel(self, row: Row) -> Channel:
        """Return what a row of `science_images` says, in the scorer's words."""
        camera = self.instrument.camera
        return Channel(
            expid=row["expid"],
            rcid=row["rcid"],
            fid=row["fid"],
            magzp=row["magzp"],
            clrcoeff=row["clrcoeff"],
            maglimit=row["maglimit"],
            saturate=row["saturate"],
            fwhm_px=row["seeing"] / camera.mosaic.pixel_scale_arcsec,
            gain=camera.quadrants[row["rcid"]].detector.gain,
            shape=(camera.quadrant.ny, camera.quadrant.nx),
        )

    def seeing_ratio(self, row: Row) -> float:
        """Return the FWHM of a row over the true one."""
        seeing = self.exposures[row["expid"]]["seeing_fwhm_arcsec"]
        psf, optics = self.instrument.config.psf, self.instrument.optics
        return float(
            row["seeing"] / true_fwhm_arcsec(seeing, self.instrument.camera, row["rcid"], psf, optics)
        )

    def noise(self, expid: int, rcid: int) -> float:
        """Return the noise of a sky pixel, electrons: photons of the true sky and the amplifier's."""
        exposure, camera = self.exposures[expid], self.instrument.camera
        clear = exposure["zero_point"] + exposure["extinction_mag"]
        sky = exposure["nominal_gain"] * 10 ** (-0.4 * (exposure["sky_mag_per_arcsec2"] - clear))
        read_noise = camera.quadrants[rcid].detector.read_noise
        return float(np.sqrt(sky * camera.mosaic.pixel_scale_arcsec**2 + read_noise**2))

    def _rows(self, table: str, columns: Sequence[str], where: pc.Expression) -> pa.Table:
        path = truth_path(self.truth, self.night, table)
        if not path.exists():
            raise NothingToDoError("no truth for this night", subject=str(path))
        return ds.dataset(path).to_table(columns=list(columns), filter=where)

    def _colours(self, object_id: Any, fid: int) -> Any:
        """Return the colours of objects that a filter's coefficient belongs to; NaN where unknown."""
        blue, red = COLOURS[self.filters[fid]]
        known = self._objects["object_id"]
        if not len(known):
            return np.full(len(object_id), np.nan)
        row = np.minimum(np.searchsorted(known, object_id), len(known) - 1)
        colour = self._objects[blue][row] - self._objects[red][row]
        return np.where(known[row] == object_id, colour, np.nan)


def _masks(
    lakehouse: Lakehouse, night: ObservingNight, rows: Sequence[Row], reader: TruthReader
) -> MaskScore:
    if not truth_path(reader.truth, night, "artefacts").exists():
        rows = ()
    reflections = reader.instrument.config.reflections
    return score_masks(lakehouse, rows, reader.artefacts, reader.noise, reflections)
