"""What a night report tells, read from the lakehouse: rows of the night and the key numbers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.lakehouse.checks import to_pandas
from zsds_tasks.settings import load_settings
from zsds_tasks.survey.camera import Camera, load_camera
from zsds_tasks.survey.nights import ObservingNight
from zsds_tasks.survey.survey import Survey, load_survey

ENGINEERING = "engineering"
_QUADRANT_COLUMNS = (
    "expid",
    "rcid",
    "ccdid",
    "qid",
    "gain",
    "readnoise",
    "filename",
    "path",
    "hdu",
    "file_size",
)


@dataclass(frozen=True)
class NightFacts:
    """The rows of one night, as frames; any of them may be empty."""

    night: ObservingNight
    camera: Camera
    survey: Survey
    exposures: pd.DataFrame
    """raw_exposures in order of time, with a column ``kind``; see `kind_of`."""
    quadrants: pd.DataFrame
    quality: pd.DataFrame
    quarantine: pd.DataFrame
    checks: pd.DataFrame
    masters: pd.DataFrame
    """master_frames: calibration masters, accepted and refused."""
    versions: dict[str, int]
    """Versions of the tables read."""

    @property
    def science(self) -> pd.DataFrame:
        """Science exposures."""
        return self.exposures[self.exposures["is_science"].astype(bool)]

    @property
    def incomplete(self) -> pd.DataFrame:
        """Exposures that miss CCDs."""
        return self.exposures[self.exposures["n_ccds"] < self.exposures["n_ccds_expected"]]

    @cached_property
    def files(self) -> pd.DataFrame:
        """One row per archived raw file."""
        return self.quadrants.drop_duplicates("filename")

    def missing_ccds(self, expid: int) -> list[int]:
        """Return the CCDs of an exposure that are not archived."""
        present = set(self.quadrants.loc[self.quadrants["expid"] == expid, "ccdid"])
        return [ccdid for ccdid in self.camera.ccdids if ccdid not in present]

    @property
    def kinds(self) -> list[str]:
        """Every kind an exposure can have, in the order of an observing day."""
        names = [t.name for t in self.survey.image_types if t.dark or t.lamp]
        return [*names, *(f.code for f in self.survey.filters), ENGINEERING]

    def kind_name(self, kind: str) -> str:
        """Return a kind in words: a filter's short name, or the kind itself."""
        return next((f.name for f in self.survey.filters if f.code == kind), kind)

    @property
    def open_shutter_fraction(self) -> float | None:
        """Share of the time from first to last science exposure with the shutter open; None below two."""
        if len(self.science) < 2:
            return None
        start = self.science["obsdate"].iloc[0]
        last = self.science["obsdate"].iloc[-1] + pd.Timedelta(
            seconds=float(self.science["exptime"].iloc[-1])
        )
        return float(self.science["exptime"].sum() / (last - start).total_seconds())


def kind_of(survey: Survey, imgtypecode: str, filtercode: str, *, is_science: bool) -> str:
    """Return what an exposure is for: ``bias``, ``flat``, ... , a science filter's code, or engineering."""
    known = {t.code: t for t in survey.image_types}
    image_type = known.get(imgtypecode)
    if image_type and (image_type.dark or image_type.lamp):
        return image_type.name
    return filtercode if is_science else ENGINEERING


def gather(lakehouse: Lakehouse, night: str, *, camera: str | None = None) -> NightFacts:
    """Read what the lakehouse holds of one night.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str
        Observing night, YYYYMMDD or YYYY-MM-DD.
    camera : str, optional
        Camera of a night without exposures; by default that of the settings.

    Returns
    -------
    NightFacts
    """
    observing_night = ObservingNight.parse(night)
    frames, versions = {}, {}
    for name, columns in (
        ("raw_exposures", None),
        ("raw_quadrants", _QUADRANT_COLUMNS),
        ("raw_quality", None),
        ("quarantine", None),
        ("check_results", None),
        ("master_frames", None),
    ):
        table = lakehouse.table(name)
        version = table.version()
        frames[name] = to_pandas(
            table.read(columns, where={"night": str(observing_night)}, version=version)
            if version is not None
            else table.read(columns)
        )
        if version is not None:
            versions[name] = version
    exposures = frames["raw_exposures"].sort_values("obsjd", ignore_index=True)
    name = str(exposures["camera"].iloc[0]) if len(exposures) else camera or load_settings().camera
    model = load_camera(name, lakehouse.include)
    survey = load_survey(model.survey, lakehouse.include)
    exposures["kind"] = [
        kind_of(survey, row.imgtypecode, row.filtercode, is_science=bool(row.is_science))
        for row in records(exposures)
    ]
    return NightFacts(
        night=observing_night,
        camera=model,
        survey=survey,
        exposures=exposures,
        quadrants=frames["raw_quadrants"],
        quality=frames["raw_quality"].sort_values(["obsjd", "rcid"], ignore_index=True),
        quarantine=frames["quarantine"].sort_values(["refused_at", "filename"], ignore_index=True),
        checks=frames["check_results"],
        masters=frames["master_frames"],
        versions=versions,
    )


def summarise(facts: NightFacts) -> dict[str, Any]:
    """Return the key numbers of a night; see `night_summary`."""
    kinds = facts.exposures["kind"].value_counts().to_dict()
    filters = {f.name: int(kinds.get(f.code, 0)) for f in facts.survey.filters}
    calibration = [t.name for t in facts.survey.image_types if t.dark or t.lamp]
    broken = facts.checks[~facts.checks["success"].astype(bool)]
    times = facts.exposures["obsdate"]
    return {
        "night": str(facts.night),
        "camera": facts.camera.name,
        "exposures": len(facts.exposures),
        "science": len(facts.science),
        "science_by_filter": {name: count for name, count in filters.items() if count},
        "calibration": {name: int(kinds[name]) for name in calibration if name in kinds},
        "engineering": int(kinds.get(ENGINEERING, 0)),
        "incomplete": len(facts.incomplete),
        "fields": int(facts.science["field"].nunique()),
        "files": len(facts.files),
        "bytes": int(facts.files["file_size"].sum()),
        "quarantined": len(facts.quarantine),
        "quarantined_by_code": _counts(facts.quarantine["code"]),
        "quarantined_bytes": int(facts.quarantine["file_size"].sum()),
        "checks": len(facts.checks),
        "checks_passed": len(facts.checks) - len(broken),
        "checks_critical": int((broken["severity"] == "critical").sum()),
        "checks_warning": int((broken["severity"] == "warning").sum()),
        "open_shutter_fraction": facts.open_shutter_fraction,
        "first_exposure": times.iloc[0].isoformat() if len(times) else None,
        "last_exposure": times.iloc[-1].isoformat() if len(times) else None,
    }


def night_summary(lakehouse: Lakehouse, night: str) -> dict[str, Any]:
    """Return the key numbers of a night, for a console.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : str
        Observing night, YYYYMMDD or YYYY-MM-DD.

    Returns
    -------
    dict
        Counts of exposures (``exposures``, ``science``, ``science_by_filter``, ``calibration``,
        ``engineering``, ``incomplete``, ``fields``), of files (``files``, ``bytes``, ``quarantined``,
        ``quarantined_by_code``, ``quarantined_bytes``), of checks (``checks``, ``checks_passed``,
        ``checks_critical``, ``checks_warning``), the times ``first_exposure`` and ``last_exposure``, and
        ``open_shutter_fraction`` (None with fewer than two science exposures).
    """
    return summarise(gather(lakehouse, night))


def records(frame: pd.DataFrame) -> Iterator[Any]:
    """Yield rows whose columns are attributes."""
    yield from frame.itertuples()


def earlier_nights(
    lakehouse: Lakehouse, night: ObservingNight, *, days: int = 30, most: int = 7
) -> list[str]:
    """Return the nights with exposures in the days before this one, newest first."""
    first = ObservingNight(night.date - dt.timedelta(days=days))
    rows = lakehouse.table("raw_exposures").read(["night"], where={"night": (str(first), str(night))})
    return sorted(set(rows.column("night").to_pylist()), reverse=True)[:most]


def baseline(lakehouse: Lakehouse, nights: Sequence[str]) -> list[dict[str, Any]]:
    """Return the key numbers of several nights with sky levels and read noise, in their order."""
    return [summarise(facts) | quality_medians(facts) for facts in (gather(lakehouse, n) for n in nights)]


def quality_medians(facts: NightFacts) -> dict[str, Any]:
    """Return a night's median sky level by filter (DN) and median read noise (electrons)."""
    science = facts.quality[facts.quality["expid"].isin(facts.science["expid"])]
    sky = {
        f.name: float(science.loc[science["fid"] == f.fid, "level"].median())
        for f in facts.survey.filters
        if (science["fid"] == f.fid).any()
    }
    noise = float(facts.quality["read_noise"].median()) if len(facts.quality) else None
    return {"sky_level": sky, "read_noise": noise}


def _counts(values: pd.Series) -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().items()}
