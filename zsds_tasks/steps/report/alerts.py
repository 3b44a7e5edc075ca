"""The sections of a night report on difference images, candidates and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.pages import card, nothing, section, table
from zsds_tasks.steps.report.alerts_curves import alert_curves
from zsds_tasks.steps.report.alerts_data import AlertFacts, gather_alerts
from zsds_tasks.steps.report.alerts_quality import channel_map, trends
from zsds_tasks.steps.report.alerts_stamps import COLUMNS, read_rows, stamps_png
from zsds_tasks.steps.report.gather import NightFacts, records
from zsds_tasks.steps.report.science_plot import figure, inline
from zsds_tasks.steps.report.words import plural, really
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, from_mjd

BEST, WORST = "alerts-best.png", "alerts-worst.png"
LISTED, SHOWN = 25, 2 * COLUMNS
"""Rows of the table of alerts; alerts whose stamps are shown at either end."""


@dataclass(frozen=True)
class AlertPages:
    """Sections of the page in reading order, and the pictures that lie beside it.

    Parameters
    ----------
    html : str
        Empty if nothing was subtracted.
    files : dict
        PNG by file name.
    """

    html: str
    files: dict[str, bytes]


def alert_pages(
    lakehouse: Lakehouse, night: NightFacts, score: Mapping[str, Any] | None = None
) -> AlertPages:
    """Return what a night report shows of differences and alerts.

    Parameters
    ----------
    lakehouse : Lakehouse
    night : NightFacts
    score : Mapping, optional
        Of a simulated night: ``curves`` with ``differences`` (see `alerts_curves`), and ``alerts``: what
        candidates really are, by candid as text.

    Returns
    -------
    AlertPages

    Raises
    ------
    TransientError
        If the storage is in the way.
    """
    facts = gather_alerts(lakehouse, night)
    if facts is None:
        return AlertPages("", {})
    truth: Mapping[str, str] = (score or {}).get("alerts") or {}
    files: dict[str, bytes] = {}
    parts = (
        _alerts(lakehouse, facts, truth, files),
        _differences(facts),
        alert_curves(((score or {}).get("curves") or {}).get("differences")),
    )
    return AlertPages("\n".join(part for part in parts if part), files)


def _alerts(
    lakehouse: Lakehouse, facts: AlertFacts, truth: Mapping[str, str], files: dict[str, bytes]
) -> str:
    body = _cards(facts)
    if facts.alerts.empty:
        return section("Alerts", body + nothing("Nothing triggered an alert."), anchor="alerts")
    body += _table(facts, truth) + _stamps(lakehouse, facts, truth, files)
    scored = facts.alerts[["drb", "rb"]].notna().any(axis=None)
    note = f"The most trustworthy first, by {'score' if scored else 'significance: no model scored them'}."
    return section("Alerts", body, note=note, anchor="alerts")


def _cards(facts: AlertFacts) -> str:
    good, alerts, candidates = facts.good, facts.alerts, facts.candidates
    failed = len(facts.images) - len(good)
    per_image = len(candidates) / max(len(good), 1)
    objects = alerts["objectid"].nunique()
    again = int((alerts["ndethist"] > 1).sum())
    filled = [
        card(f"{len(alerts):,}", "Alerts", f"{plural(objects, 'object')}, {again} seen before"),
        card(f"{len(candidates):,}", "Candidates", f"over 5 sigma; {per_image:.1f} in an image"),
        card(
            f"{len(good):,}",
            "Images subtracted",
            f"{failed} failed" if failed else "none failed",
            "warn" if failed else "good",
        ),
    ]
    if not good.empty:
        filled.append(card(f"{good['diffmaglim'].median():.2f}", "Depth of differences", "5 sigma, median"))
    for name in ("drb", "rb"):
        known = candidates[name].dropna()
        if len(known):
            share = f"{(known >= 0.5).mean():.0%}"
            filled.append(card(share, f"{name} of 0.5 or more", f"of {len(known):,} scored candidates"))
            break
    return f'<div class="cards" style="margin-top:14px">{"".join(filled)}</div>'


def _table(facts: AlertFacts, truth: Mapping[str, str]) -> str:
    survey = facts.night.survey
    scored = [name for name in ("drb", "rb") if facts.alerts[name].notna().any()]
    rows: list[tuple[str, ...]] = []
    for alert in records(facts.alerts.head(LISTED)):
        sign = "" if alert.isdiffpos else "fainter "
        row: tuple[str, ...] = (
            f"<code>{escape(alert.objectid)}</code>",
            f"<code>{alert.candid}</code>",
            f"{from_mjd(alert.jd - JD_OF_MJD_ZERO):%H:%M:%S}",
            f"{alert.field} {escape(survey.filter_by_fid(int(alert.fid)).name)}",
            f"{sign}{alert.magpsf:.2f} ± {alert.sigmapsf:.2f}",
            f"{alert.scorr:.1f}",
            *(_score(getattr(alert, name)) for name in scored),
            f"{alert.ndethist}",
        )
        rows.append((*row, really(truth.get(str(alert.candid), ""))) if truth else row)
    columns = ("Object", "Candidate", "UT", "Field", "Magnitude", "Sigma", *scored, "Seen")
    numeric = tuple(range(4, len(columns)))
    columns = (*columns, "Really") if truth else columns
    more = len(facts.alerts) - LISTED
    rest = f'<p class="note">and {more:,} more</p>' if more > 0 else ""
    return f'<div class="wide">{table(columns, rows, numeric=numeric)}</div>{rest}'


def _score(value: float) -> str:
    return "" if not np.isfinite(value) else f"{value:.2f}"


def _stamps(
    lakehouse: Lakehouse, facts: AlertFacts, truth: Mapping[str, str], files: dict[str, bytes]
) -> str:
    shown = {BEST: facts.alerts.head(SHOWN)}
    if len(facts.alerts) > SHOWN:
        shown[WORST] = facts.alerts.iloc[max(SHOWN, len(facts.alerts) - SHOWN) :].iloc[::-1]
    body = ""
    for name, heading in ((BEST, "The most trustworthy"), (WORST, "The least trustworthy")):
        rows = read_rows(lakehouse, facts, shown.get(name, pd.DataFrame()), truth)
        if rows:
            files[name] = stamps_png(rows)
            words = "Science, reference, difference, as they lie on the detector; what faded is turned round."
            body += figure(heading, inline(files[name], f"{heading} alerts"), words)
    return body


def _differences(facts: AlertFacts) -> str:
    failed = facts.images[facts.images["status"] != 1]
    figures = [*trends(facts), channel_map(facts)]
    body = f'<div class="pair">{"".join(f for f in figures if f)}</div>'
    if not failed.empty:
        counts = failed.groupby("reason").size().sort_values(ascending=False)
        rows = [(escape(str(reason)), f"{n:,}") for reason, n in counts.head(12).items()]
        body += table(("Why images failed", "Images"), rows, numeric=(1,))
    note = f"{plural(len(facts.images), 'image')} of {plural(facts.images['expid'].nunique(), 'exposure')}."
    return section("Difference images", body, note=note, anchor="differences")
