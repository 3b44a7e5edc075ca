"""How good the differences, candidates and alerts of a simulated night are, against what was planted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.alerts.select import TriggerConfig, select_alerts
from zsds_tasks.science.candidates.detect import DetectConfig
from zsds_tasks.simulator.candidate_changes import ASTEROID, MOVING_STAR, STREAK
from zsds_tasks.simulator.candidate_reader import TruthOfCandidates
from zsds_tasks.simulator.candidate_truth import LABEL_SCHEMA, NEEDED, LabelConfig, label_candidates
from zsds_tasks.simulator.score import Measure
from zsds_tasks.simulator.score_candidate_samples import DifferenceFacts, DifferenceSamples
from zsds_tasks.simulator.score_candidate_verdict import curves_of, measures_of
from zsds_tasks.simulator.score_matching import Columns, columns_of, rows_of
from zsds_tasks.survey.nights import ObservingNight

Row = dict[str, Any]
MOST_ALERTS = 2000
_IMAGE = ("pid", "expid", "rcid", "status", "rfid", "rfversion", "diffmaglim", "magzp", "fwhm_px")
_CANDIDATE = (
    *NEEDED,
    *("pid", "scorr", "snr", "flux", "sigflux", "sigmapsf", "sigpos", "nbad", "fwhm", "elong", "magdiff"),
    *("rb", "drb"),
)


class CandidateScoreConfig(Declaration):
    """From which score on a candidate counts as real, where a model scored it."""

    least_rb: Annotated[float, Field(ge=0, le=1)] = Field(0.65, description="reference section 8.1")
    least_drb: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="reference section 8.2")
    label: LabelConfig = LabelConfig()


@dataclass(frozen=True)
class CandidateScore:
    """Numbers and curves of one night's differences.

    Parameters
    ----------
    measures : list of Measure
        Empty if the night has no difference images, or is not a simulated one.
    curves : dict
        See `score_candidate_verdict.curves_of`.
    alerts : dict
        What the night's alerts really are in a word, by candid as text; at most `MOST_ALERTS` of them.
    """

    measures: list[Measure]
    curves: dict[str, Any]
    alerts: dict[str, str] = field(default_factory=dict)


def assess_candidates(
    lakehouse: Lakehouse,
    truth: Path,
    night: ObservingNight,
    config: CandidateScoreConfig = CandidateScoreConfig(),  # noqa: B008 - frozen
) -> CandidateScore:
    """Compare the difference images, candidates and alerts of a simulated night with its truth.

    Parameters
    ----------
    lakehouse : Lakehouse
    truth : Path
        Folder of truth tables.
    night : ObservingNight
    config : CandidateScoreConfig

    Returns
    -------
    CandidateScore
    """
    images = lakehouse.table("difference_images").read(_IMAGE, {"night": str(night)}).to_pylist()
    if not images:
        return CandidateScore([], {})
    try:
        reader = TruthOfCandidates(truth, night, lakehouse)
    except NothingToDoError:
        return CandidateScore([], {})
    good = [row for row in images if row["status"] == 1 and row["diffmaglim"] and row["magzp"]]
    candidates, scores = _candidates(lakehouse, night, config)
    samples = DifferenceSamples()
    facts = _Facts(lakehouse, reader, [row["pid"] for row in good])
    for row in sorted(good, key=lambda row: (row["rcid"], row["expid"])):
        known = reader.image(row["expid"], row["rcid"], (row["rfid"], row["rfversion"]))
        here = rows_of(candidates, candidates["pid"] == row["pid"])
        samples.add(here, known, facts.of(row, reader.star_colour(known)), config.label)
    alerts = lakehouse.table("alerts").read(["candid", "objectid"], {"night": str(night)}).to_pylist()
    every = samples.all_candidates()
    names = alert_names(alerts, every)
    numbers = measures_of(samples, (len(good), len(images)), scores, names)
    return CandidateScore(numbers, curves_of(samples, scores), _in_words(alerts, every))


def with_candidates(report: Mapping[str, Any], score: CandidateScore) -> dict[str, Any]:
    """Return a score as the night's report takes it, with these measures behind its own.

    The curves join those that are there, under ``differences``, and what alerts really are stands under
    ``alerts``; call it after `score_science.with_science`, which replaces the curves.
    """
    joined = dict(report) | {"measures": [*report["measures"], *map(asdict, score.measures)]}
    if score.curves:
        joined["curves"] = dict(report.get("curves", {})) | {"differences": score.curves}
    return joined | ({"alerts": score.alerts} if score.alerts else {})


def alert_truth(
    lakehouse: Lakehouse, truth: Path, night: ObservingNight, candids: Iterable[int]
) -> dict[int, Row]:
    """Say what the candidates behind alerts really are.

    Parameters
    ----------
    lakehouse : Lakehouse
    truth : Path
    night : ObservingNight
    candids : iterable of int
        Of `alerts`.

    Returns
    -------
    dict
        candid: is_real, kind, object_id, mag, separation_arcsec. Empty for a night that was not simulated;
        a candidate that a later pass replaced is left out.
    """
    wanted = sorted(set(candids))
    if not wanted:
        return {}
    rows = lakehouse.table("candidates").read(NEEDED, {"candid": wanted, "night": str(night)})
    try:
        labels = label_candidates(rows, truth, night, lakehouse)
    except NothingToDoError:
        return {}
    return {row[LABEL_SCHEMA.names[0]]: row for row in labels.to_pylist()}


def really(label: Mapping[str, Any]) -> str:
    """Return in a word what a candidate is: ``transient``, ``bogus: ghost``."""
    kind = str(label["kind"]).replace("_", " ")
    return kind if label["is_real"] else f"bogus: {kind}"


def alert_names(alerts: Iterable[Row], candidates: Columns) -> dict[str, int]:
    """Count objects that alerted, those with several names, and names that several objects share.

    Parameters
    ----------
    alerts : iterable of mapping
        candid and objectid of the night's alerts.
    candidates : Columns
        candid, is_real, kind, object_id of the night's candidates. What moves is left out: names are places.

    Returns
    -------
    dict
        objects, split, merged; empty if the night has no alerts.
    """
    alerts = list(alerts)
    if not alerts:
        return {}
    fixed = candidates["is_real"] & ~np.isin(candidates["kind"], (ASTEROID, STREAK, MOVING_STAR))
    some = rows_of(candidates, fixed)
    true = dict(zip(some["candid"].tolist(), some["object_id"].tolist(), strict=True))
    pairs = {(true[row["candid"]], row["objectid"]) for row in alerts if row["candid"] in true}
    objects, names = (Counter(pair[k] for pair in pairs) for k in (0, 1))
    return {
        "objects": len(objects),
        "split": sum(n > 1 for n in objects.values()),
        "merged": sum(n > 1 for n in names.values()),
    }


def _in_words(alerts: Iterable[Row], candidates: Columns) -> dict[str, str]:
    wanted = {row["candid"] for row in alerts}
    chosen = [n for n, candid in enumerate(candidates["candid"].tolist()) if candid in wanted][:MOST_ALERTS]
    return {
        str(candidates["candid"][n]): really({name: candidates[name][n] for name in ("kind", "is_real")})
        for n in chosen
    }


def _candidates(
    lakehouse: Lakehouse, night: ObservingNight, config: CandidateScoreConfig
) -> tuple[Columns, str]:
    """Return the night's candidates, with `passed` and `reason`, and which score was applied."""
    table = lakehouse.table("candidates").read(_CANDIDATE, {"night": str(night)})
    least = DetectConfig().threshold_sigma
    table = table.filter(pc.greater_equal(table["scorr"], pa.scalar(least, pa.float32())))
    columns = columns_of(table)
    scores, passed = "", np.ones(table.num_rows, np.bool_)
    for name, border in (("drb", config.least_drb), ("rb", config.least_rb)):
        if table.num_rows and table[name].null_count < table.num_rows:
            scores, passed = f"{name} of {border:g} or more", np.nan_to_num(columns[name]) >= border
            break
    trigger = read_declaration(lakehouse.include / "config" / "alerts.yaml", _Alerts).trigger
    reasons = np.array(select_alerts(table, trigger).reasons, dtype=str)
    return columns | {"passed": passed, "reason": reasons}, scores


class _Alerts(BaseModel):
    """The part of alerts.yaml that decides who triggers."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    trigger: TriggerConfig = TriggerConfig()


class _Facts:
    """What tables and camera say of difference images."""

    def __init__(self, lakehouse: Lakehouse, reader: TruthOfCandidates, pids: list[int]) -> None:
        self.camera = reader.camera
        rows = lakehouse.table("science_images").read(["pid", "clrcoeff"], {"pid": pids}).to_pylist()
        self._coefficients = {row["pid"]: row["clrcoeff"] or 0.0 for row in rows}

    def of(self, row: Row, star_colour: float) -> DifferenceFacts:
        """Return those of one row of difference_images."""
        return DifferenceFacts(
            expid=row["expid"],
            rcid=row["rcid"],
            diffmaglim=row["diffmaglim"],
            magzp=row["magzp"],
            colour_mag=star_colour * self._coefficients.get(row["pid"], 0.0),
            fwhm_arcsec=(row["fwhm_px"] or 2.0) * self.camera.mosaic.pixel_scale_arcsec,
            gain=self.camera.quadrants[row["rcid"]].detector.gain,
            shape=(self.camera.quadrant.ny, self.camera.quadrant.nx),
        )
