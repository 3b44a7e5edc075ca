"""The archive of a night: its packets as two files, for everybody and for partners, and a list of MD5 sums.

    alerts/ztf_public_<night>.tar.gz         packets of programme 1
    alerts/ztf_partnership_<night>.tar.gz    of the others, which are not everybody's
    alerts/MD5SUMS                           of all archives

Packets come from the outbox, which keeps them when they have been sent, and are held against the table of
alerts: a night is archived when all its alerts are made and each packet is there with the checksum of its
row. Same packets, same bytes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from zsds_tasks.broker.archive import write_packets
from zsds_tasks.broker.messages import Message
from zsds_tasks.broker.outbox import Outbox
from zsds_tasks.errors import NothingToDoError, UnusableInputError
from zsds_tasks.lakehouse import Lakehouse
from zsds_tasks.settings import Settings
from zsds_tasks.steps.alerts.configuration import load_alerts_config
from zsds_tasks.steps.alerts.names import ALERTS
from zsds_tasks.steps.alerts.work import alert_work, triggers_of
from zsds_tasks.steps.difference.configuration import load_differencing_config
from zsds_tasks.steps.difference.work import difference_work
from zsds_tasks.steps.outcomes import shortened
from zsds_tasks.survey.nights import ObservingNight

FOLDER: Final = "alerts"
SUMS: Final = f"{FOLDER}/MD5SUMS"
PUBLIC_PROGRAM: Final = 1
TURN, PATIENCE_S = "alert-archive", 60.0
REMEDY: Final = "delete the rows of these images from alerts and run `zsds alerts make` on the night"
Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class ArchiveSummary:
    """What came of archiving a night.

    Parameters
    ----------
    night : str
    packets : dict
        How many in each file.
    written : tuple of str
        Files that were not there as they are now.
    """

    night: str
    packets: dict[str, int]
    written: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for logs and the scheduler."""
        return dataclasses.asdict(self)


def archive_alerts(lakehouse: Lakehouse, settings: Settings, night: str) -> ArchiveSummary:
    """Write the archives of an observing night, if all its alerts are made.

    Killed anywhere and run again it ends with the same files: each appears whole, then its line in the list
    of sums.

    Parameters
    ----------
    lakehouse : Lakehouse
    settings : Settings
        Names the outbox.
    night : str
        YYYYMMDD.

    Returns
    -------
    ArchiveSummary

    Raises
    ------
    NothingToDoError
        If the night has no alerts, or not all of them are made; says what is missing.
    UnusableInputError
        If a packet of the table of alerts is not in the outbox, or is another one.
    """
    night = str(ObservingNight.parse(night))
    columns = ["candid", "programid", "topic", "sha256"]
    rows = lakehouse.table(ALERTS).read(columns, {"night": night}).to_pylist()
    _refuse_unfinished(lakehouse, settings, night)
    if not rows:
        raise NothingToDoError("has no alerts", subject=f"night {night}")
    packets, written = {}, []
    for audience, members in _audiences(rows).items():
        path = f"{FOLDER}/ztf_{audience}_{night}.tar.gz"
        packets[path] = len(members)
        if _store(lakehouse, Outbox(settings.outbox_folder), members, path):
            written.append(path)
    return ArchiveSummary(night, packets, tuple(written))


def _audiences(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the alerts of each file: what is not of the public programme is for partners."""
    public = [row for row in rows if row["programid"] == PUBLIC_PROGRAM]
    others = [row for row in rows if row["programid"] != PUBLIC_PROGRAM]
    return {name: members for name, members in (("public", public), ("partnership", others)) if members}


def _refuse_unfinished(lakehouse: Lakehouse, settings: Settings, night: str) -> None:
    """Raise if a difference image is to be made, or one has not alerted though a candidate triggers."""
    differencing = load_differencing_config(settings.include)
    work, _ = difference_work(lakehouse, settings, differencing, night=night)
    # Those that are to be made anew have alerted: an image alerts once.
    due = [one for one in work if one.number == 1]
    if due:
        raise NothingToDoError(
            f"{len(due)} difference images are to be made",
            subject=f"night {night}",
            remedy="run `zsds difference` and `zsds alerts make`",
        )
    config, least = load_alerts_config(settings.include), differencing.detect.threshold_sigma
    silent = [
        expid
        for expid, images in alert_work(lakehouse, night)
        if triggers_of(lakehouse, expid, images, least, config)[0].num_rows
    ]
    if silent:
        raise NothingToDoError(
            f"exposures have not alerted: {', '.join(shortened([str(expid) for expid in silent]))}",
            subject=f"night {night}",
            remedy="run `zsds alerts make`",
        )


def _store(lakehouse: Lakehouse, outbox: Outbox, rows: Sequence[Row], path: str) -> bool:
    """Write one archive and its line in the list of sums; say whether it was not there like this."""
    name = path.rpartition("/")[2]
    outbox.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=outbox.folder, prefix=".archive-") as folder:
        place = Path(folder) / name
        write_packets(_checked(outbox, rows, name), place)
        with place.open("rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
        with lakehouse.storage.turn(TURN, PATIENCE_S):
            sums = _sums(lakehouse)
            if sums.get(name) == digest and lakehouse.storage.exists(path):
                return False
            lakehouse.storage.put_file_atomically(place, path)
            lines = [f"{value}  {file}\n" for file, value in sorted((sums | {name: digest}).items())]
            lakehouse.storage.put_bytes_atomically("".join(lines).encode(), SUMS)
    return True


def _checked(outbox: Outbox, rows: Sequence[Row], name: str) -> Iterator[Message]:
    """Yield the packets of alerts in the order of topics and bundles, each held against its row."""
    wanted = {row["candid"]: row["sha256"] for row in rows}
    for topic in sorted({row["topic"] for row in rows}):
        for message in outbox.everything(topic):
            digest = wanted.pop(message.candid, None)
            if digest is None:
                continue  # of another night of the same date, or not committed
            if hashlib.sha256(message.payload).hexdigest() != digest:
                raise UnusableInputError(
                    f"its packet in {outbox.folder} is not the one of the table of alerts",
                    subject=f"candidate {message.candid}",
                    remedy=REMEDY,
                )
            yield message
    if wanted:
        missing = ", ".join(shortened([str(candid) for candid in sorted(wanted)]))
        raise UnusableInputError(
            f"{len(wanted)} packets are not in {outbox.folder}: {missing}", subject=name, remedy=REMEDY
        )


def _sums(lakehouse: Lakehouse) -> dict[str, str]:
    """Return the list of sums, by file."""
    try:
        text = lakehouse.storage.read_bytes(SUMS).decode()
    except FileNotFoundError:
        return {}
    return {name: digest for digest, _, name in (line.partition("  ") for line in text.splitlines())}
