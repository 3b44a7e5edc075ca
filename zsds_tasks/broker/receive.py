"""Read a stream of alerts, as a broker downstream does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message

from zsds_tasks.broker.connection import client_config, explain
from zsds_tasks.broker.topics import candid_of
from zsds_tasks.errors import ConfigurationError
from zsds_tasks.settings import Settings

POLL_S: Final = 0.2
NOT_YET: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._PARTITION_EOF})  # noqa: SLF001 - the library's name


@dataclass(frozen=True)
class Received:
    """A packet as it came.

    Parameters
    ----------
    topic : str
    partition, offset : int
    key : str
        The objectId.
    candid : int, optional
        From the message's headers; other systems do not give it.
    payload : bytes
        The Avro object container.
    """

    topic: str
    partition: int
    offset: int
    key: str
    candid: int | None
    payload: bytes


def receive(
    topics: Sequence[str],
    settings: Settings,
    *,
    group: str = "",
    from_start: bool = True,
    until_idle_s: float | None = None,
    patience_s: float = 120.0,
) -> Iterator[Received]:
    """Yield packets as they arrive.

    Parameters
    ----------
    topics : sequence of str
        Names, or patterns that begin with ``^``, such as ``^ztf_.*_programid1$``.
    settings : Settings
    group : str
        Consumers of one group share the packets, and the group goes on where it stopped. A packet counts as
        taken when the next one is asked for. Empty: on our own, remembering nothing.
    from_start : bool
        Where to begin if the group is new: with the oldest packet, or with the next one.
    until_idle_s : float, optional
        End when nothing has come for so long; default never.
    patience_s : float
        How long brokers may be away, restarting for instance.

    Raises
    ------
    TransientError
        If the brokers are away.
    ConfigurationError
        If they are not configured or refuse us.
    """
    heard: list[KafkaError] = []
    reached: dict[tuple[str, int], int] = {}
    consumer = _consumer(settings, group, heard.append, from_start=from_start)
    try:
        consumer.subscribe(list(topics))
        last, trouble = time.monotonic(), None
        while True:
            message = consumer.poll(POLL_S)
            quiet_s = time.monotonic() - last
            error = message.error() if message is not None else None
            for one in (*heard, *(() if error is None else (error,))):
                if one.code() not in NOT_YET:
                    trouble = explain(settings, "cannot read alerts", one)
            heard.clear()
            if isinstance(trouble, ConfigurationError):
                raise trouble
            if message is None or error is not None:
                if trouble is not None and quiet_s > min(patience_s, until_idle_s or patience_s):
                    raise trouble
                if until_idle_s is not None and quiet_s > until_idle_s:
                    return
                continue
            packet = _packet(message)
            place = (packet.topic, packet.partition)
            # After a broker has restarted, a group may be set back to the place it last committed.
            if packet.offset > reached.get(place, -1):
                reached[place] = packet.offset
                yield packet
            consumer.store_offsets(message)
            last, trouble = time.monotonic(), None
    except KafkaException as error:
        raise explain(settings, "cannot read alerts", error) from error
    finally:
        consumer.close()


def _packet(message: Message) -> Received:
    return Received(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        key=_text(message.key()),
        candid=candid_of(message.headers()),
        payload=_bytes(message.value()),
    )


def _consumer(
    settings: Settings, group: str, on_error: Callable[[KafkaError], None], *, from_start: bool
) -> Consumer:
    try:
        return Consumer(
            {
                **client_config(settings),
                "error_cb": on_error,
                "group.id": group or f"zsds-tail-{os.getpid()}",
                "enable.auto.commit": bool(group),
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest" if from_start else "latest",
                "topic.metadata.refresh.interval.ms": 5000,  # a new night's topic is seen within seconds
            }
        )
    except KafkaException as error:
        raise explain(settings, "cannot make a consumer", error) from error


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _text(value: object) -> str:
    return _bytes(value).decode(errors="replace")
