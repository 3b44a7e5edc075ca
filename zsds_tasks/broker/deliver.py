"""Bring what waits in the outbox to the broker, each packet once.

Within a process the idempotent producer sees to that. For a process that was killed, or gave up, in
mid-send: before the first packet goes, the ends of the topic's partitions are noted in the outbox. Whoever
comes next finds the note, reads the topic from there on, and does not send what it finds. So consumers need
not know of transactions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zsds_tasks.broker.connection import BrokerConfig, client_config
from zsds_tasks.broker.outbox import Outbox
from zsds_tasks.broker.sender import Sender
from zsds_tasks.broker.topics import TopicReader, ensure_topic
from zsds_tasks.settings import Settings


@dataclass
class Delivery:
    """What became of the outbox.

    Parameters
    ----------
    sent : dict
        Packets confirmed now, by topic.
    found : dict
        Packets that an earlier, broken delivery had brought there already, by topic.
    spoilt : list of Path
        Bundles that cannot be read; they were set aside, and their exposures are to be run again.
    """

    sent: dict[str, int] = field(default_factory=dict)
    found: dict[str, int] = field(default_factory=dict)
    spoilt: list[Path] = field(default_factory=list)


def deliver(
    outbox: Outbox,
    settings: Settings,
    config: BrokerConfig,
    on_sent: Callable[[int], None] | None = None,
) -> Delivery:
    """Send everything that waits.

    Parameters
    ----------
    outbox : Outbox
    settings : Settings
        With the addresses of the brokers.
    config : BrokerConfig
    on_sent : callable, optional
        Told how many more are confirmed, for a progress bar.

    Returns
    -------
    Delivery

    Raises
    ------
    TransientError
        If the broker is away or another process delivers. What was confirmed is noted; call again.
    ConfigurationError
        If there is no broker configured, or it refuses us.
    """
    client_config(settings)
    delivery = Delivery()
    with outbox.sending():
        for topic in outbox.topics():
            ensure_topic(topic, settings, config)
            found = _look(outbox, topic, settings, config)
            if found:
                delivery.found[topic] = found

            def confirmed(candids: list[int], topic: str = topic) -> None:
                outbox.mark_sent(topic, candids)
                if on_sent is not None:
                    on_sent(len(candids))

            sender = Sender(settings, config, confirmed)
            delivery.sent[topic] = sender.send(topic, outbox.pending(topic))
            outbox.end_attempt(topic)
            outbox.settle(topic)
    delivery.spoilt = outbox.spoilt()
    return delivery


def _look(outbox: Outbox, topic: str, settings: Settings, config: BrokerConfig) -> int:
    """Begin an attempt; where one was broken off, mark what it had brought; return how many."""
    starts = outbox.attempt(topic)
    if starts is not None:
        time.sleep(config.settle_s)
    with TopicReader(topic, settings, config) as reader:
        if starts is None:
            outbox.begin_attempt(topic, reader.ends())
            return 0
        there = reader.candids_since(starts)
    found = sorted(there - outbox.sent(topic))
    outbox.mark_sent(topic, found)
    return len(found)
