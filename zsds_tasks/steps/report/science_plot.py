"""Frames, marks and figures that the drawings of calibrated images share."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.steps.report.drawing import Axis, hour_ticks, line, nice_ticks, padded, path, svg, text
from zsds_tasks.survey.nights import from_mjd, mjd

WIDTH, HEIGHT = 540.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 68.0, 20.0, 22.0, 44.0
SHADES = ("#2b1d6e", "#3a4fa3", "#2f86a6", "#3db48a", "#a8d46a", "#f7ec8c")
"""From little to much."""
DIVERGING = ("#2166ac", "#7fb3d8", "#f0f0ee", "#f0a07c", "#b2182b")
"""From below to above."""
_HAIRLINE = 'stroke-opacity="0.7"'


@dataclass(frozen=True)
class Plot:
    """A drawing with a horizontal and a vertical axis.

    Parameters
    ----------
    x, y : Axis
        In drawing units; y grows upward.
    height : float
        Of the whole drawing.
    """

    x: Axis
    y: Axis
    height: float = HEIGHT

    @classmethod
    def over(
        cls,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        top: float = TOP,
        bottom: float = HEIGHT - BOTTOM,
        height: float = HEIGHT,
    ) -> Plot:
        """Return a plot of these ranges."""
        return cls(Axis(*x, LEFT, WIDTH - RIGHT), Axis(*y, bottom, top), height)

    def levels(self, unit: str, *, about: int = 5, ticks: Sequence[float] | None = None) -> list[str]:
        """Return horizontal lines with their numbers, and the unit above them."""
        parts = [text(self.x.start, self.y.end - 10, unit, more='font-size="12"')]
        low, high = min(self.y.low, self.y.high), max(self.y.low, self.y.high)
        for tick in nice_ticks(low, high, about) if ticks is None else ticks:
            at = self.y(tick)
            parts.append(line(self.x.start, at, self.x.end, at, more=_HAIRLINE))
            parts.append(text(self.x.start - 8, at + 4, f"{tick:,g}", anchor="end"))
        return parts

    def numbers(self, name: str, ticks: Sequence[float] | None = None, *, power: bool = False) -> list[str]:
        """Return numbers along the horizontal axis and its name; with `power`, the axis is of logarithms."""
        shown = nice_ticks(self.x.low, self.x.high, 7) if ticks is None else ticks
        base = self.y.start
        parts = []
        for tick in shown:
            at = self.x(float(np.log10(tick)) if power else tick)
            parts.append(line(at, base, at, base + 4))
            parts.append(text(at, base + 18, f"{tick:,g}", anchor="middle"))
        return [*parts, self._named(name)]

    def clock(self, *, labelled: bool = True) -> list[str]:
        """Return the hours of a horizontal axis in MJD."""
        parts = []
        for hour in hour_ticks(from_mjd(self.x.low), from_mjd(self.x.high), most=6):
            at = self.x(mjd(hour))
            parts.append(line(at, self.y.end, at, self.y.start, more=_HAIRLINE))
            if labelled:
                parts.append(text(at, self.y.start + 18, f"{hour:%H:%M}", anchor="middle"))
        return [*parts, self._named("UT")] if labelled else parts

    def curve(
        self, x: Sequence[float], y: Sequence[float | None], *, stroke: str, title: str = "", more: str = ""
    ) -> list[str]:
        """Return a line through the points that are known, broken where one is not."""
        parts, run = [], list[tuple[float, float]]()
        for at, value in [*zip(x, y, strict=True), (0.0, None)]:
            if value is not None and np.isfinite(value):
                run.append((self.x(at), self.y(min(max(value, self.y.low), self.y.high))))
                continue
            if len(run) > 1:
                parts.append(path(run, stroke=stroke, title=title, more=f'stroke-width="2" {more}'.strip()))
            run = []
        return parts

    def svg(self, parts: list[str], label: str) -> str:
        """Return the whole drawing."""
        return svg(WIDTH, self.height, parts, label)

    def _named(self, name: str) -> str:
        return text((self.x.start + self.x.end) / 2, self.y.start + 38, name, anchor="middle")


def span(values: Sequence[float] | NDArray[np.floating], least: float) -> tuple[float, float]:
    """Return a range with some air around the values that are known."""
    known = [float(v) for v in values if np.isfinite(v)]
    return padded(known or [0.0], least=least)


def shade(share: float, stops: Sequence[str] = SHADES) -> str:
    """Return the colour of a share from 0 to 1, between stops."""
    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    n = min(int(place), len(stops) - 2)
    pair = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops[n : n + 2]]
    mixed = (round(a + (place - n) * (b - a)) for a, b in zip(*pair, strict=True))
    return "#" + "".join(f"{c:02x}" for c in mixed)


def figure(heading: str, drawing: str, caption: str = "", *, mark: str = "") -> str:
    """Return a drawing with its heading, a mark behind that (HTML), and caption."""
    head = f"<h3>{escape(heading)}{mark and f' {mark}'}</h3>" if heading else ""
    foot = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{head}{drawing}{foot}</figure>"


def inline(png: bytes, words: str) -> str:
    """Return a picture that lies in the page itself."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{data}">'


def legend(entries: Sequence[tuple[str, str]]) -> str:
    """Return coloured squares with their names: (colour, name), ..."""
    spans = (f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for colour, name in entries)
    return f'<div class="legend">{"".join(spans)}</div>'
