"""Make the alerts of exposures: choose, name, look back, pack, put into the outbox, commit."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from zsds_tasks.broker.messages import Message, topic_name
from zsds_tasks.broker.outbox import Outbox
from zsds_tasks.errors import UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.products.packets import VERSION, Packet, PacketSchema, load_packet_schema
from zsds_tasks.products.provenance import processing_version
from zsds_tasks.science.alerts.assemble import assemble
from zsds_tasks.science.alerts.cutouts import name_cutouts
from zsds_tasks.science.alerts.encode import encoder_of
from zsds_tasks.science.alerts.rows import rows_of
from zsds_tasks.settings import Settings
from zsds_tasks.steps.alerts.configuration import STAGE, AlertsConfig, load_alerts_config
from zsds_tasks.steps.alerts.facts import with_columns, with_facts
from zsds_tasks.steps.alerts.known import NOTHING_KNOWN, catalog_edition, known_objects
from zsds_tasks.steps.alerts.names import ALERTS, name_triggers
from zsds_tasks.steps.alerts.past import Past
from zsds_tasks.steps.alerts.work import alert_work, triggers_of
from zsds_tasks.steps.archiving import Progress
from zsds_tasks.steps.difference.configuration import load_differencing_config
from zsds_tasks.steps.difference.files import STAMPS
from zsds_tasks.steps.outcomes import reason_of, shortened
from zsds_tasks.steps.stored import read_stored
from zsds_tasks.survey.filenames import ScienceSuffix
from zsds_tasks.survey.nights import JD_OF_MJD_ZERO, from_mjd

Row = Mapping[str, Any]
Stamps = dict[int, tuple[bytes, bytes, bytes]]
REMEDY = "have the difference made again, with its products"
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
    failed : tuple of str
        Exposures whose packets could not be made, each with its reason; they stay due.
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
    failed: tuple[str, ...]
    waiting: dict[str, int]
    seconds: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self) | {"failed": shortened(self.failed)}


def make_alerts(
    lakehouse: Lakehouse,
    settings: Settings,
    *,
    night: str | None = None,
    expids: Sequence[int] | None = None,
    progress: Progress | None = None,
    config: AlertsConfig | None = None,
) -> AlertSummary:
    """Make the packets of every difference image that has none, exposures in order of time.

    An image alerts once: brokers have its packets, and a later pass over it has other candidates. One process
    at a time gives names. Packets lie in the outbox before their rows are committed: killed in between, the
    exposure is done again, to the same names and the same bytes.

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

    Raises
    ------
    TransientError, ConfigurationError
        If the world is in the way or a declaration is wrong; what was committed before stays.
    """
    config = config or load_alerts_config(settings.include)
    began, outbox = time.perf_counter(), Outbox(settings.outbox_folder)
    maker = _Maker(
        lakehouse,
        settings,
        outbox,
        load_packet_schema(VERSION, settings.include),
        config,
        load_differencing_config(settings.include).detect.threshold_sigma,
    )
    failed: list[str] = []
    with lakehouse.storage.turn(TURN, PATIENCE_S):
        exposures = alert_work(lakehouse, night, expids)
        for number, (expid, images) in enumerate(exposures, start=1):
            try:
                maker.make(expid, images)
            except Exception as error:  # noqa: BLE001 - one exposure must not stop the others; it stays due
                failed.append(f"exposure {expid}: {reason_of(error, f'exposure {expid}')}")
            if progress:
                progress("exposures", number, len(exposures))
    return AlertSummary(
        exposures=maker.exposures,
        alerts=maker.alerts,
        objects=maker.objects,
        refused=dict(maker.refused),
        failed=tuple(failed),
        waiting=outbox.count(),
        seconds=time.perf_counter() - began,
        reason="" if maker.exposures or failed else "every candidate that triggers has its alert",
    )


@dataclasses.dataclass
class _Maker:
    """Makes the alerts of one exposure after the other, and counts."""

    lakehouse: Lakehouse
    settings: Settings
    outbox: Outbox
    schema: PacketSchema
    config: AlertsConfig
    least_score: float
    exposures: int = 0
    alerts: int = 0
    objects: int = 0
    refused: dict[str, int] = dataclasses.field(default_factory=lambda: defaultdict(int))

    def make(self, expid: int, images: Mapping[int, Row]) -> None:
        """Make the alerts of some images of an exposure: packets first, then names, then rows."""
        triggers, refused = triggers_of(self.lakehouse, expid, images, self.least_score, self.config)
        for name, count in refused.items():
            self.refused[name] += count
        if not triggers.num_rows:
            return
        stamps = {pid: read_stamps(self.lakehouse, images[pid]) for pid in set(triggers["pid"].to_pylist())}
        named = name_triggers(self.lakehouse, triggers, self.config.naming)
        names = [str(name) for name in named.names]
        past = Past(self.lakehouse, self.settings, triggers, self.config)
        counts = past.counts()
        full = with_facts(triggers, past.facts)
        objects = known_objects(self.settings, triggers, full["exptime"][0].as_py(), self.config.known)
        full = with_columns(full, dataclasses.asdict(counts) | objects)
        packets = _packets(full, names, stamps, past, self.schema, self.config)
        encoder = encoder_of(self.schema)
        payloads = [encoder.encode(packet) for packet in packets]
        topics = [_topic(*row.values()) for row in triggers.select(["jd", "programid"]).to_pylist()]
        self._put(triggers, names, topics, payloads)
        pids = triggers["pid"].to_pylist()
        versions = {pid: self._version(images[pid]) for pid in set(pids)}
        rows = with_columns(
            triggers.select(list(CARRIED)),
            {
                "objectid": names,
                "ndethist": counts.ndethist,
                "ncovhist": counts.ncovhist,
                **{name: _null_if_missing(objects[name], name) for name in NOTHING_KNOWN},
                "topic": topics,
                "sha256": [hashlib.sha256(payload).hexdigest() for payload in payloads],
                "processing_version": [versions[pid] for pid in pids],
            },
        )
        self.lakehouse.table(ALERTS).merge(rows.to_pylist())
        self.exposures += 1
        self.alerts += len(payloads)
        self.objects += len(named.founders)

    def _put(
        self, triggers: pa.Table, names: Sequence[str], topics: Sequence[str], payloads: Sequence[bytes]
    ) -> None:
        """Put packets into the outbox, a bundle for each image: one that comes late replaces no other's."""
        bundles: dict[tuple[str, int], list[Message]] = defaultdict(list)
        keys = zip(topics, triggers["pid"].to_pylist(), strict=True)
        candids = triggers["candid"].to_pylist()
        for key, candid, name, payload in zip(keys, candids, names, payloads, strict=True):
            bundles[key].append(Message(candid, name, payload))
        for (topic, pid), messages in bundles.items():
            self.outbox.put(topic, str(pid), messages)

    def _version(self, image: Row) -> str:
        edition = catalog_edition(self.settings, self.config.known)
        return processing_version(STAGE, self.config, [image["processing_version"], edition])


def _packets(
    triggers: pa.Table,
    names: Sequence[str],
    stamps: dict[int, Stamps],
    past: Past,
    schema: PacketSchema,
    config: AlertsConfig,
) -> Iterator[Packet]:
    history = past.history(schema)
    for k, row in enumerate(rows_of(triggers, schema.record("candidate"))):
        pid, candid = row["pid"], row["candid"]
        if candid not in stamps[pid]:
            raise UnusableInputError("has no stamps", subject=f"candidate {candid}", remedy=REMEDY)
        cutouts = name_cutouts(candid, pid, stamps[pid][candid], is_positive=row["isdiffpos"] == "t")
        yield assemble(row, names[k], history.previous(k), history.forced(k), cutouts, schema, config.packet)


def read_stamps(lakehouse: Lakehouse, image: Row) -> Stamps:
    """Return the stamps of a difference image's candidates, by candid: science, template, difference.

    Raises
    ------
    UnusableInputError
        If they were not written, are gone, or are not those that the row names.
    """
    data = read_stored(lakehouse, image, ScienceSuffix.CUTOUTS.value, remedy=REMEDY)
    table = pq.read_table(io.BytesIO(data))
    columns = (table.column(name).to_pylist() for name in STAMPS)
    return dict(zip(table.column("candid").to_pylist(), zip(*columns, strict=True), strict=True))


def _null_if_missing(values: pa.Array, name: str) -> pa.Array:
    """Return what a packet says as a table does: null where there is nothing."""
    missing, type_ = NOTHING_KNOWN[name]
    return pa.array([None if value == missing else value for value in values.to_pylist()], type_)


def _topic(jd: float, programid: int) -> str:
    return topic_name(f"{from_mjd(jd - JD_OF_MJD_ZERO):%Y%m%d}", programid)
