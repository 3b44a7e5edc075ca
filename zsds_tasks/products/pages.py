"""The house style of HTML pages: self-contained, light and dark, printable, nothing from the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Browsers refuse anything a page would load from elsewhere, should it ever try."""

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #f6f7f9; --card: #ffffff; --ink: #16202c; --soft: #566375; --faint: #8b97a6; --line: #dde3ea;
  --accent: #2456c7; --good: #14784a; --good-bg: #e3f4ea; --warn: #8f5a00; --warn-bg: #fdf0d5;
  --bad: #b3261e; --bad-bg: #fce4e2; --zg: #1fa567; --zr: #e0503e; --zi: #9a5cc4; --flat: #d99a17;
  --bias: #7b8a9d; --other: #2d8fb3; --night: #14203c; --moon: #e3b52c;
    --shadow: 0 1px 2px #1018280f, 0 1px 6px #1018280a;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0e131b; --card: #171e29; --ink: #e7ecf3; --soft: #a3b0c0; --faint: #748194; --line: #2a3442;
    --accent: #86a8ff; --good: #5fd39a; --good-bg: #12352a; --warn: #f0bb5b; --warn-bg: #3b2d10;
    --bad: #ff8a80; --bad-bg: #431c1b; --zg: #46c98a; --zr: #ff7361; --zi: #c58be0; --flat: #f0bd4e;
    --bias: #93a1b3; --other: #58bfe3; --night: #05070c; --moon: #ffd95e; --shadow: none;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans",
    sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 40px 28px 64px; }
h1 { font-size: 34px; line-height: 1.2; letter-spacing: -.02em; margin: 4px 0 10px; font-weight: 680; }
h2 { font-size: 21px; letter-spacing: -.01em; margin: 0 0 4px; font-weight: 650; }
h3 { font-size: 15px; margin: 0 0 8px; font-weight: 620; }
p { margin: 0 0 12px; max-width: 78ch; } p.lead { font-size: 19px; line-height: 1.5; color: var(--soft); }
.over { font-size: 13px; letter-spacing: .07em; text-transform: uppercase; color: var(--soft);
  font-weight: 600; }
.note { color: var(--soft); font-size: 14.5px; } .empty { color: var(--soft); font-style: italic;
  margin: 8px 0 0; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: 2px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 24px 26px;
  margin: 22px 0 0; box-shadow: var(--shadow); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(196px, 1fr)); gap: 14px;
  margin: 26px 0 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px;
  padding: 16px 18px 14px;
  box-shadow: var(--shadow); }
.card b { display: block; font-size: 30px; line-height: 1.15; letter-spacing: -.02em; font-weight: 660;
  font-variant-numeric: tabular-nums; }
.card .label { color: var(--soft); font-size: 14px; font-weight: 560; }
  .card .sub { color: var(--soft); font-size: 13px; }
.card.good b { color: var(--good); } .card.warn b { color: var(--warn); }
  .card.bad b { color: var(--bad); }
.tag { display: inline-block; border-radius: 999px; padding: 1px 10px; font-size: 12.5px;
  font-weight: 620;
  white-space: nowrap; background: var(--line); color: var(--ink); }
.tag.good { background: var(--good-bg); color: var(--good); } .tag.warn { background: var(--warn-bg);
  color: var(--warn); }
.tag.bad { background: var(--bad-bg); color: var(--bad); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14.5px; margin: 10px 0 2px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 13px;
  border-bottom: 1px solid var(--line);
  padding: 6px 14px 6px 0; vertical-align: bottom; }
td { padding: 8px 14px 8px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
tr:last-child td { border-bottom: 0; } th.n, td.n { text-align: right;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
td > a > code, code.whole { white-space: nowrap; }
code, .mono { font: 13px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
details { border-top: 1px solid var(--line); padding: 12px 0 2px; margin-top: 12px; }
.case { border-top: 1px solid var(--line); padding: 14px 0 4px; margin-top: 12px; }
summary { cursor: pointer; font-weight: 600; color: var(--soft); }
svg { display: block; width: 100%; height: auto; } svg text { font-family: inherit; fill: var(--soft); }
figure { margin: 14px 0 0; }
figure.strip { overflow-x: auto; } figure.strip svg { min-width: 720px; }
figcaption { color: var(--soft); font-size: 14px; margin-top: 10px;
  max-width: 90ch; }
img { display: block; max-width: 100%; height: auto; border-radius: 10px; }
.legend { display: flex; flex-wrap: wrap; gap: 6px 18px; font-size: 13.5px; color: var(--soft);
  margin: 12px 0 0; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 22px; }
.pair > figure { min-width: 0; }
footer { color: var(--soft); font-size: 13.5px; margin: 30px 4px 0; }
@media (max-width: 700px) { main { padding: 22px 14px 40px; } section { padding: 18px 16px; }
  h1 { font-size: 27px; } .pair { grid-template-columns: 1fr; } }
@media print {
  :root { color-scheme: light; } body { background: #fff; font-size: 12px; } main { max-width: none;
    padding: 0; }
  section, .card { box-shadow: none; break-inside: avoid; }
    .cards { grid-template-columns: repeat(5, 1fr); }
  a { color: inherit; text-decoration: none; }
}
"""


def page(title: str, body: str) -> str:
    """Return a whole page.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML, already escaped.

    Returns
    -------
    str
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n"
        "</body>\n</html>\n"
    )


def section(heading: str, body: str, *, note: str = "", anchor: str = "") -> str:
    """Return a framed section; heading and note are plain text, body is HTML."""
    name = f' id="{escape(anchor)}"' if anchor else ""
    words = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section{name}>\n<h2>{escape(heading)}</h2>\n{words}{body}\n</section>"


def card(value: str, label: str, sub: str = "", tone: str = "") -> str:
    """Return one number with its label; tone is ``good``, ``warn``, ``bad`` or empty."""
    below = f'<div class="sub">{escape(sub)}</div>' if sub else ""
    above = f'<div class="label">{escape(label)}</div>'
    return f'<div class="card {tone}">{above}<b>{escape(value)}</b>{below}</div>'


def nothing(words: str) -> str:
    """Return the sentence that stands where there is nothing to show."""
    return f'<p class="empty">{escape(words)}</p>'


def tag(text: str, tone: str = "") -> str:
    """Return a coloured word."""
    return f'<span class="tag {tone}">{escape(text)}</span>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numeric: Sequence[int] = ()) -> str:
    """Return a table whose cells are HTML already; columns named by number in `numeric` align right."""

    def cell(element: str, number: int, content: str) -> str:
        kind = ' class="n"' if number in numeric else ""
        return f"<{element}{kind}>{content}</{element}>"

    head = "".join(cell("th", n, escape(name)) for n, name in enumerate(columns))
    body = "\n".join(
        "<tr>" + "".join(cell("td", n, content) for n, content in enumerate(row)) + "</tr>" for row in rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'
    )
