"""The rows of an exposure: judged together, then committed once per table."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.science.quality.verdict import VerdictConfig, judge_exposure
from zsds_tasks.steps.exposure.outcome import QuadrantOutcome
from zsds_tasks.steps.exposure.work import IMAGES

SOURCES, QUALITY, GHOSTS = "sources", "image_quality", "ghost_stamps"
JUDGED = pa.schema(
    [("rcid", pa.int16()), ("status", pa.int8()), ("infobits", pa.int32()), ("reason", pa.string())]
)


def commit_exposure(
    lakehouse: Lakehouse, expid: int, outcomes: Sequence[QuadrantOutcome], config: VerdictConfig
) -> None:
    """Replace the rows of an exposure's channels, one commit per table; science_images last.

    Killed in between, the channels have no row of their version in science_images and are done again.

    Parameters
    ----------
    lakehouse : Lakehouse
    expid : int
    outcomes : sequence of QuadrantOutcome
        Of the channels that were processed now.
    config : VerdictConfig
        Says when an exposure is bad as a whole.
    """
    judged = judged_together(lakehouse, expid, outcomes, config)
    where = {"expid": expid, "rcid": [outcome.image["rcid"] for outcome in judged]}
    sources = [outcome.sources for outcome in judged if outcome.sources is not None]
    table = lakehouse.table(SOURCES)
    if sources or table.exists():
        table.replace(pa.concat_tables(sources) if sources else [], where)
    stamps = lakehouse.table(GHOSTS)
    rows = [row for outcome in judged for row in outcome.ghost_stamps]
    if rows or stamps.exists():
        stamps.replace(rows, where)
    lakehouse.table(QUALITY).replace([outcome.quality for outcome in judged], where)
    lakehouse.table(IMAGES).replace([outcome.image for outcome in judged], where)


def judged_together(
    lakehouse: Lakehouse, expid: int, outcomes: Sequence[QuadrantOutcome], config: VerdictConfig
) -> list[QuadrantOutcome]:
    """Return outcomes with the bits that the exposure as a whole gives them.

    Channels that are not processed now count as their rows say.
    """
    now = {outcome.image["rcid"] for outcome in outcomes}
    names = JUDGED.names
    others = lakehouse.table(IMAGES).read(names, {"expid": expid}).to_pylist()
    rows = [{name: outcome.image[name] for name in names} for outcome in outcomes]
    rows += [row for row in others if row["rcid"] not in now]
    verdicts = {
        row["rcid"]: row for row in judge_exposure(pa.Table.from_pylist(rows, JUDGED), config).to_pylist()
    }
    return [_with_verdict(outcome, verdicts[outcome.image["rcid"]]) for outcome in outcomes]


def _with_verdict(outcome: QuadrantOutcome, verdict: dict[str, object]) -> QuadrantOutcome:
    if verdict["infobits"] == outcome.image["infobits"]:
        return outcome
    changed = {name: verdict[name] for name in ("infobits", "reason")}
    sources = outcome.sources
    if sources is not None:
        at = sources.schema.get_field_index("infobits")
        field = sources.schema.field(at)
        sources = sources.set_column(
            at, field, pa.array([verdict["infobits"]] * sources.num_rows, field.type)
        )
    return dataclasses.replace(
        outcome,
        image=outcome.image | changed,
        quality=outcome.quality | {"infobits": verdict["infobits"]},
        sources=sources,
    )
