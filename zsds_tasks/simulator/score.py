"""How well raw ingest did, against what was delivered: the only reader of truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.simulator.delivery.faults import Outcome
from zsds_tasks.simulator.truth.tables import read_truth
from zsds_tasks.survey.camera import QUADRANTS_PER_CCD
from zsds_tasks.survey.nights import ObservingNight

Row = dict[str, Any]
File = tuple[str, str]  # name and SHA-256
TIME_TOLERANCE_DAYS = 1e-8  # 1 ms: the header's precision
POINTING_TOLERANCE_DEG = 1e-5

MISTAKE_SCHEMA = pa.schema(
    [
        pa.field("subject", pa.string(), nullable=False),
        pa.field("expected", pa.string(), nullable=False),
        pa.field("found", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Measure:
    """One number of a score.

    Parameters
    ----------
    measure : str
        Its name.
    value, target : float
        What was reached, and what should be.
    ok : bool
        Whether it was.
    sentence : str
        What it means.
    """

    measure: str
    value: float
    target: float
    ok: bool
    sentence: str


@dataclass(frozen=True)
class RawScore:
    """Ingest of one night in numbers.

    Parameters
    ----------
    delivered : int
        Arrivals of files, repetitions included.
    ingested, quarantined, duplicates, replaced, missing : int
        Arrivals that ended as they should, by kind of ending.
    wrong : int
        Arrivals that ended otherwise, plus files in the tables that nobody delivered.
    exposures, wrong_exposures : int
        Rows of `raw_exposures` that should be there, and values among them that contradict truth.
    ingest_completeness, ingest_purity, quarantine_completeness, quarantine_purity : float
        Right endings over those that should have been, and over all endings of that kind; 1 if there are
        none.
    mistakes : pyarrow.Table
        What was wrong: subject, expected, found.
    """

    night: str
    delivered: int
    ingested: int
    quarantined: int
    duplicates: int
    replaced: int
    missing: int
    wrong: int
    exposures: int
    wrong_exposures: int
    ingest_completeness: float
    ingest_purity: float
    quarantine_completeness: float
    quarantine_purity: float
    mistakes: pa.Table

    @property
    def is_perfect(self) -> bool:
        """Whether nothing at all was wrong."""
        return self.wrong == 0 and self.wrong_exposures == 0

    def measures(self) -> list[Measure]:
        """Return what a report shows of it."""
        rates = {
            "ingest completeness": (self.ingest_completeness, "good files that were archived"),
            "ingest purity": (self.ingest_purity, "archived files that were delivered good"),
            "quarantine completeness": (self.quarantine_completeness, "damaged files that were refused"),
            "quarantine purity": (self.quarantine_purity, "refused files that were damaged"),
        }
        found = [Measure(name, value, 1.0, value >= 1.0, text) for name, (value, text) in rates.items()]
        counts = {
            "wrong endings": (self.wrong, "deliveries that did not end as they should"),
            "wrong values": (self.wrong_exposures, "header values in the tables that contradict the truth"),
        }
        return found + [Measure(name, value, 0, value == 0, text) for name, (value, text) in counts.items()]

    def for_report(self) -> dict[str, object]:
        """Return plain values for the night's report."""
        ending = "as planted" if self.is_perfect else f"with {self.wrong + self.wrong_exposures} mistakes"
        return {
            "sentence": f"{self.delivered} deliveries of a simulated night ended {ending}.",
            "measures": [asdict(measure) for measure in self.measures()],
        }

    def numbers(self) -> dict[str, object]:
        """Return everything but the table of mistakes, for reports and rows."""
        return {name: value for name, value in asdict(self).items() if name != "mistakes"}


def score_raw(lakehouse: Lakehouse, truth: Path, night: ObservingNight) -> RawScore:
    """Compare the raw tables and the quarantine with what the simulator delivered in a night.

    Raises
    ------
    NothingToDoError
        If the night was not simulated here.
    """
    deliveries = read_truth(truth, night, "deliveries").to_pylist()
    archived = _read(lakehouse, "raw_quadrants", night, ["filename", "sha256", "rcid"])
    refused = _read(lakehouse, "quarantine", night, ["filename", "sha256"])
    channels: dict[File, int] = {}
    for row in archived:
        key = (row["filename"], row["sha256"])
        channels[key] = channels.get(key, 0) + 1
    held = {(row["filename"], row["sha256"]) for row in refused}
    good = {(r["name"], r["sha256"]) for r in deliveries if r["expected"] == Outcome.INGESTED}
    bad = {(r["name"], r["sha256"]) for r in deliveries if r["expected"] == Outcome.QUARANTINED}
    endings = [_ending(row, channels, held, good) for row in deliveries]
    mistakes = list(_misplaced(deliveries, endings, channels.keys() | held))
    right = dict.fromkeys(Outcome, 0)
    expected = dict.fromkeys(Outcome, 0)
    for row, ending in zip(deliveries, endings, strict=True):
        outcome = Outcome(row["expected"])
        expected[outcome] += 1
        right[outcome] += ending == outcome.value
    wrong_values = list(_wrong_exposures(lakehouse, truth, night, deliveries))
    return RawScore(
        night=str(night),
        delivered=len(deliveries) - expected[Outcome.MISSING],
        ingested=right[Outcome.INGESTED],
        quarantined=right[Outcome.QUARANTINED],
        duplicates=right[Outcome.DUPLICATE],
        replaced=right[Outcome.REPLACED],
        missing=right[Outcome.MISSING],
        wrong=len(mistakes),
        exposures=len({row["expid"] for row in deliveries if row["expected"] == Outcome.INGESTED}),
        wrong_exposures=len(wrong_values),
        ingest_completeness=_share(right[Outcome.INGESTED], expected[Outcome.INGESTED]),
        ingest_purity=_share(len(good & channels.keys()), len(channels)),
        quarantine_completeness=_share(right[Outcome.QUARANTINED], expected[Outcome.QUARANTINED]),
        quarantine_purity=_share(len(bad & held), len(held)),
        mistakes=pa.Table.from_pylist([*mistakes, *wrong_values], schema=MISTAKE_SCHEMA),
    )


def _ending(row: Row, channels: dict[File, int], held: set[File], good: set[File]) -> str:
    """Return what became of one arrival, in the words of `Outcome`, or more words if it is neither."""
    key = (row["name"], row["sha256"])
    count = channels.get(key, 0)
    if row["expected"] == Outcome.REPLACED and key not in held and (count == 0 or key in good):
        return Outcome.REPLACED.value  # same bytes in another arrival: that one answers for the rows
    if key in held:
        return "quarantined and ingested" if count else Outcome.QUARANTINED.value
    if count == QUADRANTS_PER_CCD:
        return Outcome.DUPLICATE.value if row["expected"] == Outcome.DUPLICATE else Outcome.INGESTED.value
    if count:
        return f"{count} of {QUADRANTS_PER_CCD} readout channels"
    return Outcome.MISSING.value


def _misplaced(deliveries: list[Row], endings: list[str], present: set[File]) -> Iterator[Row]:
    known = {(row["name"], row["sha256"]) for row in deliveries}
    for row, found in zip(deliveries, endings, strict=True):
        if found != row["expected"]:
            yield {"subject": row["name"], "expected": row["expected"], "found": found}
    for name, _ in sorted(present - known):
        yield {"subject": name, "expected": "no such file", "found": "a row"}


def _wrong_exposures(
    lakehouse: Lakehouse, truth: Path, night: ObservingNight, deliveries: list[Row]
) -> Iterator[Row]:
    """Compare rows of `raw_exposures` with the true exposures that had at least one good file."""
    ccds: dict[int, int] = {}
    for row in deliveries:
        if row["expected"] == Outcome.INGESTED:
            ccds[row["expid"]] = ccds.get(row["expid"], 0) + 1
    found = {row["expid"]: row for row in _read(lakehouse, "raw_exposures", night, None)}
    true = {row["expid"]: row for row in read_truth(truth, night, "exposures").to_pylist()}
    for expid in sorted(ccds.keys() - found.keys()):
        yield {"subject": f"exposure {expid}", "expected": "a row", "found": "none"}
    for expid in sorted(found.keys() - ccds.keys()):
        yield {"subject": f"exposure {expid}", "expected": "no row", "found": "a row"}
    for expid in sorted(ccds.keys() & found.keys() & true.keys()):
        for column, expected, value, tolerance in _comparisons(true[expid], found[expid], ccds[expid]):
            same = expected == value if tolerance == 0 else abs(expected - value) <= tolerance
            if not same:
                yield {
                    "subject": f"exposure {expid} {column}",
                    "expected": str(expected),
                    "found": str(value),
                }


def _comparisons(true: Row, found: Row, n_ccds: int) -> Iterator[tuple[str, Any, Any, float]]:
    for column in ("field", "fid", "imgtypecode", "programid", "is_science", "led"):
        yield column, true[column], found[column], 0.0
    yield "n_ccds", n_ccds, found["n_ccds"], 0.0
    yield "obsmjd", true["obsmjd"], found["obsmjd"], TIME_TOLERANCE_DAYS
    yield "exptime", true["exptime_s"], found["exptime"], 1e-3
    yield "ra", true["header_ra"], found["ra"], POINTING_TOLERANCE_DEG
    yield "dec", true["header_dec"], found["dec"], POINTING_TOLERANCE_DEG


def _read(lakehouse: Lakehouse, name: str, night: ObservingNight, columns: list[str] | None) -> list[Row]:
    table = lakehouse.table(name)
    if not table.exists():
        return []
    return list(table.read(columns, where={"night": str(night)}).to_pylist())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
