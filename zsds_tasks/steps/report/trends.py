"""The detectors and the sky through the night, from the quick-look measures of raw frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from zsds_tasks.steps.report.drawing import Axis, dot, hour_ticks, line, nice_ticks, padded, path, svg, text
from zsds_tasks.steps.report.gather import NightFacts, records
from zsds_tasks.steps.report.timeline import colour
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, from_mjd, mjd

WIDTH, HEIGHT = 540, 270
LEFT, RIGHT, TOP, BOTTOM = 68, 20, 20, 44
MOST_LINES, SINGLED_OUT = 16, 3
"""With more channels than the first, only this many are drawn as lines of their own."""
PAUSE_DAYS = 20.0 / 1440
"""A line is not drawn across a longer pause."""
_HAIRLINE = 'stroke-opacity="0.7"'


def bias_trend(facts: NightFacts) -> tuple[str, str] | None:
    """Draw each channel's overscan level, exposure by exposure, relative to its own median.

    Of a camera with many channels, only those that wander most are drawn as lines, over a band of all.

    Returns
    -------
    (str, str) or None
        SVG and its caption; None without measures.
    """
    quality = facts.quality
    if quality.empty:
        return None
    shifts = quality.assign(
        # By order and not by clock: exposures come in bursts, in which lines would be indistinguishable.
        order=quality["obsjd"].rank(method="dense"),
        shift=quality["bias_level"] - quality.groupby("rcid")["bias_level"].transform("median"),
    )
    x = Axis(*padded(shifts["order"].tolist()), LEFT, WIDTH - RIGHT)
    y = _upward(shifts["shift"].tolist(), least=2.0)
    parts = _frame(x, y, "DN from the channel's median")
    parts += _numbers(
        x, nice_ticks(1, float(shifts["order"].max()), 7), "exposure of the night, in order of time"
    )
    channels = sorted(quality["rcid"].unique())
    caption = "One line per readout channel."
    if len(channels) > MOST_LINES:
        parts += _band(shifts, x, y)
        wandering = shifts.groupby("rcid")["shift"].std().nlargest(SINGLED_OUT)
        channels = sorted(wandering.index)
        caption = (
            "Band: 5th to 95th percentile over all channels at each exposure; "
            f"lines: the channels that wander most, {', '.join(map(str, channels))}."
        )
    for number, rcid in enumerate(channels):
        rows = shifts[shifts["rcid"] == rcid]
        title = f"channel {rcid}: median {rows['bias_level'].median():.1f} DN"
        stroke = f"hsl({number * 300 / max(len(channels) - 1, 1):.0f} 55% 55%)"
        more = 'stroke-width="1.4" stroke-opacity="0.75" stroke-linejoin="round"'
        points = [(x(row.order), y(row.shift)) for row in records(rows)]
        parts.append(path(points, stroke=stroke, title=title, more=more))
    return svg(WIDTH, HEIGHT, parts, "Bias level of the channels through the night"), caption


def _band(shifts: pd.DataFrame, x: Axis, y: Axis) -> list[str]:
    """Return a bar per exposure from the 5th to the 95th percentile over its channels."""
    spread = shifts.groupby("order")["shift"].quantile(np.array([0.05, 0.95])).unstack()  # noqa: PD010 - as below
    more = 'stroke-width="1.6" stroke-opacity="0.3"'
    return [
        line(x(order), y(low), x(order), y(high), stroke="var(--accent)", more=more)
        for order, (low, high) in zip(spread.index, spread.to_numpy(), strict=True)
    ]


def read_noise(facts: NightFacts) -> str | None:
    """Draw each channel's median read noise, its spread over the night, and what the headers say."""
    quality = facts.quality
    if quality.empty:
        return None
    by_channel = quality.groupby("rcid")["read_noise"].quantile(np.array([0.05, 0.5, 0.95])).unstack()  # noqa: PD010 - of a Series, which has no pivot_table
    header = facts.quadrants.groupby("rcid")["readnoise"].median()
    values = [*by_channel.to_numpy().ravel().tolist(), *header.tolist()]
    x = Axis(-0.7, facts.camera.n_quadrants - 0.3, LEFT, WIDTH - RIGHT)
    y = _upward(values, least=1.0)
    parts = _frame(x, y, "electrons")
    half = max(2.5, min(9.0, (x(1) - x(0)) * 0.38))
    for rcid, (low, median, high) in zip(by_channel.index, by_channel.to_numpy(), strict=True):
        at = x(float(rcid))
        title = f"channel {rcid}: {median:.2f} e-"
        if rcid in header.index:
            title += f", header {header[rcid]:.2f} e-"
            level = y(float(header[rcid]))
            parts.append(
                line(at - half, level, at + half, level, stroke="var(--faint)", more='stroke-width="2"')
            )
        parts.append(
            line(
                at, y(low), at, y(high), stroke="var(--accent)", more='stroke-width="2" stroke-opacity="0.5"'
            )
        )
        parts.append(dot(at, y(median), min(4.5, half), fill="var(--accent)", title=title))
    parts += _numbers(x, nice_ticks(0, facts.camera.n_quadrants - 1, 8), "readout channel (rcid)")
    return svg(WIDTH, HEIGHT, parts, "Read noise of every channel")


def sky_trend(facts: NightFacts) -> str | None:
    """Draw the sky level of every science exposure against the clock, by filter.

    Returns
    -------
    str or None
        SVG; None without measured science exposures.
    """
    rows = facts.quality[facts.quality["expid"].isin(facts.science["expid"])]
    if rows.empty:
        return None
    sky = rows.groupby("expid").agg(obsjd=("obsjd", "first"), fid=("fid", "first"), level=("level", "median"))
    exptime = facts.science.set_index("expid")["exptime"]
    rate = sky["level"] / exptime.reindex(sky.index).clip(lower=1e-3)
    x = _clock(sky["obsjd"].to_numpy(float))
    y = _upward([0.0, *rate.tolist()], least=1.0)
    parts = _frame(x, y, "DN per second, median over channels")
    for filter_ in facts.survey.filters:
        chosen = sky[sky["fid"] == filter_.fid].sort_values("obsjd")
        if chosen.empty:
            continue
        points = [(x(row.obsjd - JD_OF_MJD_ZERO), y(float(rate[row.Index]))) for row in records(chosen)]
        more = 'stroke-width="1.3" stroke-opacity="0.45"'
        for run in _runs(chosen["obsjd"].to_numpy(float)):
            parts.append(path([points[n] for n in run], stroke=colour(filter_.code), more=more))
        parts += [
            dot(
                *point,
                3.6,
                fill=colour(filter_.code),
                title=f"{filter_.name}: {rate[expid]:.2f} DN/s, exposure {expid}",
            )
            for point, expid in zip(points, chosen.index, strict=True)
        ]
    return svg(WIDTH, HEIGHT, parts, "Sky level through the night by filter")


def noise_curve(facts: NightFacts) -> str | None:
    """Draw pixel noise squared against level for flats and science: its slope is one over the gain.

    Returns
    -------
    str or None
        SVG on logarithmic axes; None without illuminated frames.
    """
    gains = facts.quadrants.drop_duplicates(["expid", "rcid"])[["expid", "rcid", "gain"]]
    rows = facts.quality[facts.quality["level"] > 1].merge(gains, on=["expid", "rcid"])
    if rows.empty:
        return None
    read = rows["overscan_noise"].to_numpy(float)
    light = np.log10(rows["level"].to_numpy(float))
    variance = rows["noise"].to_numpy(float) ** 2 - read**2
    rows, light, variance = rows[variance > 0], light[variance > 0], variance[variance > 0]
    if not len(rows):
        return None
    logs = np.log10(variance * rows["gain"].to_numpy(float))
    x = Axis(*padded(light.tolist(), least=1), LEFT, WIDTH - RIGHT)
    y = _upward(logs.tolist(), least=1.0)
    parts = _frame(x, y, "noise variance x gain, electron DN", power=True)
    low, high = max(x.low, y.low), min(x.high, y.high)
    if high > low:
        parts.append(
            line(x(low), y(low), x(high), y(high), stroke="var(--faint)", more='stroke-dasharray="5 4"')
        )
    kinds = facts.exposures.set_index("expid")["kind"].to_dict()
    shown: dict[tuple[int, int, str], None] = {}
    for expid, level, value in zip(rows["expid"], light, logs, strict=True):
        kind = kinds.get(expid, "")
        place = (round(x(level)), round(y(value)), kind)
        if place not in shown:  # thousands of channels fall on the same few pixels
            shown[place] = None
            parts.append(dot(x(level), y(value), 2.6, fill=colour(kind), more='fill-opacity="0.7"'))
    parts += [
        text(x(tick), HEIGHT - BOTTOM + 18, f"{10**tick:,.0f}", anchor="middle")
        for tick in nice_ticks(x.low, x.high, 4)
        if float(tick).is_integer()
    ]
    parts.append(text((x.start + x.end) / 2, HEIGHT - 6, "level above overscan, DN", anchor="middle"))
    return svg(WIDTH, HEIGHT, parts, "Noise against level")


def _numbers(x: Axis, ticks: Sequence[float], name: str) -> list[str]:
    """Return whole numbers and the name of a horizontal axis of things that are counted."""
    parts = [
        text(x(tick), HEIGHT - BOTTOM + 18, f"{tick:g}", anchor="middle")
        for tick in ticks
        if float(tick).is_integer()
    ]
    return [*parts, text((x.start + x.end) / 2, HEIGHT - 6, name, anchor="middle")]


def _runs(moments: np.ndarray) -> list[np.ndarray]:
    """Return the positions of moments (days, in order) in stretches without a long pause."""
    return np.split(np.arange(len(moments)), np.flatnonzero(np.diff(moments) > PAUSE_DAYS) + 1)


def _clock(jd: np.ndarray) -> Axis:
    """Return an axis of MJD over the moments, with some air."""
    low, high = padded((jd - JD_OF_MJD_ZERO).tolist(), least=0.05)
    return Axis(low, high, LEFT, WIDTH - RIGHT)


def _upward(values: Sequence[float], *, least: float) -> Axis:
    finite = pd.Series(values, dtype=float).dropna()
    low, high = padded(finite.tolist() or [0.0], least=least)
    return Axis(low, high, HEIGHT - BOTTOM, TOP)


def _frame(x: Axis, y: Axis, unit: str, *, power: bool = False) -> list[str]:
    """Return grid and labels; x is labelled with hours when it looks like days."""
    parts = [text(x.start, 10, unit, more='font-size="12"')]
    for tick in nice_ticks(y.low, y.high, 5):
        if power and not float(tick).is_integer():
            continue
        label = f"{10**tick:,.0f}" if power else f"{tick:g}"
        parts.append(line(x.start, y(tick), x.end, y(tick), more=_HAIRLINE))
        parts.append(text(x.start - 8, y(tick) + 4, label, anchor="end"))
    if x.low > 10_000:
        for hour in hour_ticks(from_mjd(x.low), from_mjd(x.high), most=6):
            at = x(mjd(hour))
            parts.append(line(at, TOP, at, HEIGHT - BOTTOM, more=_HAIRLINE))
            parts.append(text(at, HEIGHT - BOTTOM + 18, f"{hour:%H:%M}", anchor="middle"))
        parts.append(text((x.start + x.end) / 2, HEIGHT - 6, "UT", anchor="middle"))
    return parts
