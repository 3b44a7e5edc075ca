"""The night along the clock: every exposure by kind, twilight behind, the Moon above, idle time named."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from zsds_tasks.sky.horizon import Observer, horizontal, moon, sun
from zsds_tasks.steps.report.drawing import WIDTH, Axis, dot, hour_ticks, line, path, rect, svg, text
from zsds_tasks.steps.report.gather import NightFacts, records
from zsds_tasks.survey.nights import mjd

LEFT, RIGHT, TOP, LANE, MOON_HEIGHT = 150, 14, 6, 32, 78
IDLE_MINUTES = 20.0
LEAST_LABELLED = 22.0
"""Width of an idle stretch, drawing units, below which its length is not written."""
STEP = dt.timedelta(minutes=4)
TWILIGHT = ((0.0, 0.0), (-6.0, 0.22), (-12.0, 0.48), (-18.0, 0.72))
"""Sun's altitude above which (degrees) the background has this opacity; 0.94 below them all."""
DARK_OPACITY = 0.94


@dataclass(frozen=True)
class SkyTrack:
    """Altitudes of Sun and Moon along a night, degrees."""

    times: list[dt.datetime]
    sun_alt: np.ndarray
    moon_alt: np.ndarray
    moon_lit: float


def sky_track(facts: NightFacts, start: dt.datetime, end: dt.datetime) -> SkyTrack:
    """Compute Sun and Moon every few minutes."""
    site = facts.camera.site
    observer = Observer(site.latitude_deg, site.longitude_deg, site.elevation_m)
    count = int((end - start) / STEP) + 1
    times = [start + n * STEP for n in range(count)]
    when = np.array([mjd(t) for t in times])
    moon_ra, moon_dec, lit = moon(when, observer)
    return SkyTrack(
        times,
        horizontal(*sun(when), when, observer)[2],
        horizontal(moon_ra, moon_dec, when, observer)[2],
        float(np.mean(lit)),
    )


def colour(kind: str) -> str:
    """Return the page's colour of a kind of exposure."""
    return f"var(--{kind})" if kind in {"zg", "zr", "zi", "flat", "bias"} else "var(--other)"


def span(facts: NightFacts) -> tuple[dt.datetime, dt.datetime]:
    """Return the interval worth drawing: sunset to sunrise and every exposure, to full half hours."""
    start, end = facts.night.bounds(facts.camera.site.noon_utc_hour)
    track = sky_track(facts, start, end)
    down = [t for t, alt in zip(track.times, track.sun_alt, strict=True) if alt < 0]
    times = [*down, *(t.to_pydatetime() for t in facts.exposures["obsdate"])]
    first, last = min(times, default=start), max(times, default=end)
    air = dt.timedelta(minutes=20)
    return max(start, first - air), min(end, last + air)


def timeline(facts: NightFacts) -> str:
    """Return the drawing as SVG.

    Parameters
    ----------
    facts : NightFacts
        May have no exposures: then sky and clock are drawn alone.

    Returns
    -------
    str
    """
    start, end = span(facts)
    kinds = [kind for kind in facts.kinds if (facts.exposures["kind"] == kind).any()]
    x = Axis(mjd(start), mjd(end), LEFT, WIDTH - RIGHT)
    lanes_top = TOP + MOON_HEIGHT + 8
    bottom = lanes_top + LANE * max(len(kinds), 1)
    track = sky_track(facts, start, end)
    parts = [*_twilight(track, x, TOP, bottom), *_hours(start, end, x, bottom), *_moon(track, x)]
    for number, kind in enumerate(kinds):
        rows = facts.exposures[facts.exposures["kind"] == kind]
        parts += _lane(facts, kind, rows, lanes_top + number * LANE, x)
    idle = _idle(facts.science, x, bottom)
    words = f"Timeline of night {facts.night}: {len(facts.exposures)} exposures in {len(kinds)} kinds"
    return svg(WIDTH, bottom + (58 if idle else 26), [*parts, *idle], words)


def _twilight(track: SkyTrack, x: Axis, top: float, bottom: float) -> list[str]:
    opacity = [next((o for low, o in TWILIGHT if alt > low), DARK_OPACITY) for alt in track.sun_alt]
    parts, first = [], 0
    for n in range(1, len(opacity) + 1):
        if n == len(opacity) or opacity[n] != opacity[first]:
            left, right = x(mjd(track.times[first])), x(mjd(track.times[min(n, len(opacity) - 1)]))
            parts.append(
                rect(
                    left,
                    top,
                    right - left,
                    bottom - top,
                    fill="var(--night)",
                    more=f'fill-opacity="{opacity[first]}"',
                )
            )
            first = n
    parts.append(
        rect(x.start, top, x.end - x.start, bottom - top, fill="none", more='stroke="var(--line)" rx="4"')
    )
    return parts


def _hours(start: dt.datetime, end: dt.datetime, x: Axis, bottom: float) -> list[str]:
    parts = []
    for tick in hour_ticks(start, end):
        at = x(mjd(tick))
        parts.append(line(at, TOP, at, bottom, stroke="var(--faint)", more='stroke-opacity="0.28"'))
        parts.append(text(at, bottom + 18, f"{tick:%H:%M}", anchor="middle"))
    return [*parts, text(x.start - 12, bottom + 18, "hour (UT)", anchor="end")]


def _moon(track: SkyTrack, x: Axis) -> list[str]:
    y = Axis(0, 90, TOP + MOON_HEIGHT, TOP + 6)
    parts = [
        line(x.start, y(0), x.end, y(0), stroke="var(--faint)", more='stroke-opacity="0.45"'),
        text(x.start - 12, TOP + MOON_HEIGHT / 2, "Moon", anchor="end"),
        text(
            x.start - 12,
            TOP + MOON_HEIGHT / 2 + 16,
            f"{track.moon_lit:.0%} lit",
            anchor="end",
            more='font-size="12"',
        ),
    ]
    stretch: list[tuple[float, float]] = []
    for time, altitude in [*zip(track.times, track.moon_alt, strict=True), (None, -1.0)]:
        if time is not None and altitude >= 0:
            stretch.append((x(mjd(time)), y(float(altitude))))
        elif stretch:
            parts.append(
                path(stretch, stroke="var(--moon)", more='stroke-width="2.5" stroke-linecap="round"')
            )
            stretch = []
    if not (track.moon_alt >= 0).any():
        parts.append(
            text(
                (x.start + x.end) / 2,
                y(38),
                "below the horizon all night",
                anchor="middle",
                more='font-size="12"',
            )
        )
        return parts
    highest = int(np.argmax(track.moon_alt))
    top = (x(mjd(track.times[highest])), y(float(track.moon_alt[highest])))
    return [
        *parts,
        dot(*top, 6, fill="var(--moon)", title=f"Moon at most {track.moon_alt[highest]:.0f}° high"),
    ]


def _lane(facts: NightFacts, kind: str, rows: pd.DataFrame, top: float, x: Axis) -> list[str]:
    name = facts.kind_name(kind)
    parts = [
        text(x.start - 46, top + LANE / 2 + 5, name, anchor="end", more='font-weight="600"'),
        text(x.start - 12, top + LANE / 2 + 5, f"{len(rows)}", anchor="end"),
    ]
    for row in records(rows):
        left = x(float(row.obsmjd))
        width = max(x(float(row.obsmjd) + float(row.exptime) / 86400) - left, 2.2)
        whole = row.n_ccds == row.n_ccds_expected
        where = f", field {row.field}" if row.field else ""
        title = f"{row.expid}: {name}{where}, {row.obsdate:%H:%M:%S} UT, {row.exptime:g} s" + (
            "" if whole else f", {row.n_ccds} of {row.n_ccds_expected} CCDs"
        )
        parts.append(rect(left, top + 5, width, LANE - 10, fill=colour(kind), title=title, more='rx="1"'))
        if not whole:
            parts.append(
                dot(
                    left + width / 2,
                    top + 5,
                    4,
                    fill="var(--bad)",
                    title=title,
                    more='stroke="#fff" stroke-width="1"',
                )
            )
    return parts


def _idle(science: pd.DataFrame, x: Axis, bottom: float) -> list[str]:
    """Name the stretches without a science exposure between the first and the last."""
    parts, y = [], bottom + 34
    starts = science["obsmjd"].to_numpy(float)
    ends = starts + science["exptime"].to_numpy(float) / 86400
    for left, right in zip(ends[:-1], starts[1:], strict=True):
        minutes = (right - left) * 1440
        if minutes < IDLE_MINUTES:
            continue
        more = 'stroke-width="3" stroke-linecap="round" stroke-opacity="0.8"'
        parts.append(line(x(left) + 2, y, x(right) - 2, y, stroke="var(--faint)", more=more))
        if x(right) - x(left) > LEAST_LABELLED:
            middle = (x(left) + x(right)) / 2
            parts.append(text(middle, y + 17, f"{minutes:.0f}", anchor="middle", more='font-size="12"'))
    return [*parts, text(x.start - 12, y + 9, "idle minutes", anchor="end")] if parts else []
