"""Make the alerts of exposures: choose, name, look back, pack, put into the outbox, commit."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import io
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from zsds_tasks.broker.messages import Message, topic_name
from zsds_tasks.broker.outbox import Outbox
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.packets import VERSION, Packet, PacketSchema, load_packet_schema
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.alerts.assemble import assemble
from zsds_tasks.science.alerts.cutouts import name_cutouts
from zsds_tasks.science.alerts.encode import encoder_of
from zsds_tasks.science.alerts.rows import rows_of
from zsds_tasks.science.alerts.select import select_alerts
from zsds_tasks.settings import Settings
from zsds_tasks.steps.alerts.configuration import STAGE, AlertsConfig, load_alerts_config
from zsds_tasks.steps.alerts.facts import DIFFERENCES, with_columns, with_facts
from zsds_tasks.steps.alerts.names import ALERTS, JD_OF_UNIX, name_triggers
from zsds_tasks.steps.alerts.past import Past
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.difference.files import STAMPS
from zsds_tasks.steps.difference.work import CANDIDATES
from zsds_tasks.survey.filenames import ScienceSuffix

Row = dict[str, Any]
TURN, PATIENCE_S = "naming", 600.0  # no name of a table: its commits queue under that
CARRIED = (
    "candid", "pid", "expid", "jd", "night", "fid", "field", "rcid", "programid", "ra", "dec", "isdiffpos",
    "magpsf", "sigmapsf", "scorr", "rb", "drb",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class AlertSummary:
    """What came of making alerts.

    Parameters
    ----------
    exposures, alerts, objects : int
        Worked on now; packets made; objects that had no name before.
    refused : dict
        Candidates that did not trigger, by the criterion they failed.
    waiting : dict
        Packets that no broker has confirmed, by topic.
    seconds : float
    reason : str
        Why nothing was to be done; empty if something was.
    """

    exposures: int
    alerts: int
    objects: int
    refused: dict[str, int]
    waiting: dict[str, int]
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self)


def make_alerts(
    lakehouse: Lakehouse,
    settings: Settings,
    *,
    night: str | None = None,
    expids: Sequence[int] | None = None,
    progress: Progress | None = None,
    config: AlertsConfig | None = None,
) -> AlertSummary:
    """Make the packets of every exposure whose candidates have not all alerted, in order of time.

    One process at a time gives names. Packets lie in the outbox before their rows are committed: killed in
    between, the exposure is done again, to the same names and the same bytes.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
    night : str, optional
        Only this night, YYYYMMDD.
    expids : sequence of int, optional
        Only these exposures.
    progress : callable, optional
        Called with what was done, how many, of how many.
    config : AlertsConfig, optional
        By default that of ``include/config/alerts.yaml``.
    """
    config = config or load_alerts_config(settings.include)
    began, outbox = time.perf_counter(), Outbox(settings.outbox_folder)
    schema = load_packet_schema(VERSION, settings.include)
    counts: dict[str, int] = defaultdict(int)
    refused: dict[str, int] = defaultdict(int)
    with lakehouse.storage.turn(TURN, PATIENCE_S):
        exposures = _exposures(lakehouse, night, expids)
        for number, (expid, images) in enumerate(exposures, start=1):
            made = _of_exposure(lakehouse, expid, images, outbox, schema, config, refused)
            for name, count in made.items():
                counts[name] += count
            if progress:
                progress("exposures", number, len(exposures))
    return AlertSummary(
        exposures=counts["exposures"],
        alerts=counts["alerts"],
        objects=counts["objects"],
        refused=dict(refused),
        waiting=outbox.count(),
        seconds=time.perf_counter() - began,
        reason="" if counts["exposures"] else "every candidate that triggers has its alert",
    )


def _exposures(
    lakehouse: Lakehouse, night: str | None, expids: Sequence[int] | None
) -> list[tuple[int, dict[int, Row]]]:
    """Return exposures with usable difference images, by pid, in order of time."""
    where: Row = {"status": 1}
    where |= {"night": night} if night else {}
    where |= {"expid": list(expids)} if expids is not None else {}
    found: dict[tuple[float, int], dict[int, Row]] = defaultdict(dict)
    columns = ["pid", "expid", "obsjd", "path", "products", "processing_version"]
    for row in lakehouse.table(DIFFERENCES).read(columns, where).to_pylist():
        found[row["obsjd"], row["expid"]][row["pid"]] = row
    return [(expid, found[jd, expid]) for jd, expid in sorted(found)]


def _of_exposure(
    lakehouse: Lakehouse,
    expid: int,
    images: dict[int, Row],
    outbox: Outbox,
    schema: PacketSchema,
    config: AlertsConfig,
    refused: dict[str, int],
) -> dict[str, int]:
    where = {"expid": expid, "scorr": (config.least_score, None)}
    candidates = lakehouse.table(CANDIDATES).read(where=where)
    candidates = candidates.filter(pc.is_in(candidates["pid"], pa.array(sorted(images), pa.int64())))
    selection = select_alerts(candidates, config.trigger)
    triggers = candidates.filter(pa.array(selection.triggers))
    versions = {
        pid: processing_version(STAGE, config, [row["processing_version"]]) for pid, row in images.items()
    }
    done = lakehouse.table(ALERTS).read(["candid", "processing_version"], {"expid": expid}).to_pylist()
    wanted = {
        (candid, versions[pid])
        for candid, pid in zip(triggers["candid"].to_pylist(), triggers["pid"].to_pylist(), strict=True)
    }
    if wanted <= {(row["candid"], row["processing_version"]) for row in done}:
        return {}
    for name, count in selection.refused.items():
        refused[name] += count
    named = name_triggers(lakehouse, triggers, config.naming)
    names = [str(name) for name in named.names]
    counts = Past(lakehouse, triggers, config)
    seen = counts.counts()
    triggers_full = with_columns(with_facts(triggers, counts.facts), dataclasses.asdict(seen))
    packets = list(_packets(lakehouse, triggers_full, names, images, counts, schema, config))
    payloads = [encoder_of(schema).encode(packet) for packet in packets]
    topics = [_topic(row["jd"], row["programid"]) for row in triggers.select(["jd", "programid"]).to_pylist()]
    for topic in sorted(set(topics)):
        messages = [
            Message(packet["candid"], name, payload)
            for packet, name, payload, its in zip(packets, names, payloads, topics, strict=True)
            if its == topic
        ]
        outbox.put(topic, str(expid), messages)
    rows = with_columns(
        triggers.select(list(CARRIED)),
        {
            "objectid": names,
            "ndethist": seen.ndethist,
            "ncovhist": seen.ncovhist,
            "topic": topics,
            "sha256": [hashlib.sha256(payload).hexdigest() for payload in payloads],
            "processing_version": [versions[pid] for pid in triggers["pid"].to_pylist()],
        },
    )
    lakehouse.table(ALERTS).merge(rows.to_pylist())
    return {"exposures": 1, "alerts": len(packets), "objects": len(named.founders)}


def _packets(
    lakehouse: Lakehouse,
    triggers: pa.Table,
    names: Sequence[str],
    images: dict[int, Row],
    past: Past,
    schema: PacketSchema,
    config: AlertsConfig,
) -> Iterator[Packet]:
    history = past.history(schema)
    stamps: dict[int, dict[int, tuple[bytes, bytes, bytes]]] = {}
    for k, row in enumerate(rows_of(triggers, schema.record("candidate"))):
        pid, candid = row["pid"], row["candid"]
        if pid not in stamps:
            stamps = {pid: read_stamps(lakehouse, images[pid])}
        cutouts = name_cutouts(candid, pid, stamps[pid][candid], is_positive=row["isdiffpos"] == "t")
        yield assemble(row, names[k], history.previous(k), history.forced(k), cutouts, schema, config.packet)


def read_stamps(lakehouse: Lakehouse, image: Row) -> dict[int, tuple[bytes, bytes, bytes]]:
    """Return the stamps of a difference image's candidates, by candid: science, template, difference."""
    path = image["path"].replace(ScienceSuffix.DIFFERENCE.value, ScienceSuffix.CUTOUTS.value)
    table = pq.read_table(io.BytesIO(lakehouse.storage.read_bytes(path)))
    columns = (table.column(name).to_pylist() for name in STAMPS)
    return dict(zip(table.column("candid").to_pylist(), zip(*columns, strict=True), strict=True))


def _topic(jd: float, programid: int) -> str:
    day = dt.datetime.fromtimestamp((jd - JD_OF_UNIX) * 86_400, dt.UTC)
    return topic_name(f"{day:%Y%m%d}", programid)
