"""Marks and axes as SVG text, coloured by the page's own variables so that they follow light and dark."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 1120
"""Units of a full-width drawing; the page shows it at about one unit per pixel."""


@dataclass(frozen=True)
class Axis:
    """A linear scale from data to drawing units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def svg(width: float, height: float, content: Iterable[str], label: str) -> str:
    """Return a drawing with its description for those who cannot see it."""
    body = "\n".join(content)
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'font-size="13">\n{body}\n</svg>'
    )


def rect(
    x: float, y: float, width: float, height: float, *, fill: str, title: str = "", more: str = ""
) -> str:
    """Return a rectangle; `title` shows when pointed at."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" fill="{fill}"{_more(more)}>'
        f"{tip}</rect>"
    )


def dot(x: float, y: float, radius: float, *, fill: str, title: str = "", more: str = "") -> str:
    """Return a disc."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{radius:g}" fill="{fill}"{_more(more)}>{tip}</circle>'


def line(x1: float, y1: float, x2: float, y2: float, *, stroke: str = "var(--line)", more: str = "") -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.2f}" y1="{y1:.2f}" x2="{x2:.2f}" y2="{y2:.2f}" stroke="{stroke}"{_more(more)}/>'


def path(points: Sequence[tuple[float, float]], *, stroke: str, title: str = "", more: str = "") -> str:
    """Return a line through points."""
    steps = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<polyline points="{steps}" fill="none" stroke="{stroke}"{_more(more)}>{tip}</polyline>'


def text(x: float, y: float, words: str, *, anchor: str = "start", more: str = "") -> str:
    """Return words; anchor is ``start``, ``middle`` or ``end``."""
    return f'<text x="{x:.2f}" y="{y:.2f}" text-anchor="{anchor}"{_more(more)}>{escape(words)}</text>'


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers inside an interval, about as many as asked for."""
    if not high > low:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def padded(values: Sequence[float], *, least: float = 1.0) -> tuple[float, float]:
    """Return an interval that holds the values with some air, at least `least` wide."""
    low, high = min(values), max(values)
    air = max((high - low) * 0.08, (least - (high - low)) / 2, least * 0.05)
    return low - air, high + air


def hour_ticks(start: dt.datetime, end: dt.datetime, most: int = 14) -> list[dt.datetime]:
    """Return the full hours of an interval, every one or every few."""
    hours = (end - start).total_seconds() / 3600
    step = next(s for s in (1, 2, 3, 4, 6, 12) if hours / s <= most)
    tick = start.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
    tick += dt.timedelta(hours=(-tick.hour) % step)
    ticks = []
    while tick < end:
        ticks.append(tick)
        tick += dt.timedelta(hours=step)
    return ticks


def _more(attributes: str) -> str:
    return f" {attributes}" if attributes else ""
