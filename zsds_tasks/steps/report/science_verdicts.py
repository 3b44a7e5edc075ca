"""What was said of each image: which failed and why, and which conditions were noted."""

from __future__ import annotations

from html import escape

import pandas as pd

from zsds_tasks.products.infobits import InfoBit
from zsds_tasks.products.pages import table, tag
from zsds_tasks.steps.report.gather import records
from zsds_tasks.steps.report.science_data import ScienceFacts
from zsds_tasks.steps.report.words import plural

SHOWN = 40
"""Rows of a table shown at once; the others are counted."""
BITS = 31


def verdicts(facts: ScienceFacts) -> str:
    """Return the tables of conditions and of failures; a sentence where there are none."""
    return _conditions(facts) + _failures(facts)


def _conditions(facts: ScienceFacts) -> str:
    good = facts.good
    clean = int((good["infobits"] == 0).sum())
    words = f"{clean:,} of {plural(len(good), 'usable image')} are without any condition."
    rows = []
    named = {int(bit): bit.sentence for bit in InfoBit}
    bits = good["infobits"].astype("int64")
    for bit in range(BITS):
        having = good[(bits & (1 << bit)) > 0]
        if having.empty:
            continue
        share = len(having) / len(good)
        style = f"display:inline-block;width:{max(3, round(220 * share))}px;height:10px;border-radius:3px"
        bar = f'<span style="{style};background:var(--warn)"></span>'
        by_filter = ", ".join(
            f"{int((having['fid'] == f.fid).sum())} {f.name}"
            for f in facts.filters
            if (having["fid"] == f.fid).any()
        )
        rows.append(
            (
                str(bit),
                escape(named.get(bit, "a condition without a name")),
                f"{len(having):,}",
                f"{share:.1%}",
                f'{bar} <span class="note">{escape(by_filter)}</span>',
            )
        )
    columns = ("Bit", "Condition", "Images", "Share", "")
    found = table(columns, rows, numeric=(0, 2, 3)) if rows else ""
    return f'<h3 style="margin-top:14px">Conditions noted</h3><p>{escape(words)}</p>{found}'


def _failures(facts: ScienceFacts) -> str:
    failed = facts.failed
    if failed.empty:
        return '<h3 style="margin-top:22px">Failures</h3><p>No quadrant failed.</p>'
    rows = [
        (
            f"<code>{row.expid}</code>",
            f"{row.ccdid}·q{row.qid}",
            escape(facts.night.kind_name(row.filtercode)),
            tag(row.stage or "unknown", "bad"),
            escape(row.reason or "no reason was given"),
        )
        for row in records(failed.head(SHOWN))
    ]
    rest = f'<p class="note">and {len(failed) - SHOWN:,} more</p>' if len(failed) > SHOWN else ""
    columns = ("Exposure", "Quadrant", "Filter", "Stage", "Why")
    return (
        f'<h3 style="margin-top:22px">Failures</h3><p>{escape(_by_stage(failed))}</p>'
        f"{table(columns, rows)}{rest}"
    )


def _by_stage(failed: pd.DataFrame) -> str:
    """Return the number of failures by stage in words."""
    counts = failed["stage"].replace("", "unknown").value_counts()
    stages = ", ".join(f"{count:,} in {stage}" for stage, count in counts.items())
    return f"{plural(len(failed), 'quadrant')} failed: {stages}. The others of their exposures landed."
