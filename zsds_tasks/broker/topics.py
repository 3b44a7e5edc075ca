"""Topics: make them, know where they end, and see which packets are there already."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from zsds_tasks.broker.connection import BrokerConfig, client_config, explain
from zsds_tasks.broker.messages import CANDID_HEADER
from zsds_tasks.errors import TransientError
from zsds_tasks.settings import Settings

MS_PER_DAY: Final = 86_400_000
POLL_S: Final = 0.5


def ensure_topic(topic: str, settings: Settings, config: BrokerConfig) -> None:
    """Make a topic if it is not there.

    Raises
    ------
    TransientError
        If no broker answers.
    ConfigurationError
        If it may not be made so, or by us.
    """
    try:
        admin = AdminClient(client_config(settings))
        known = admin.list_topics(timeout=config.connect_s).topics
        if topic in known or not config.creates_topics:
            return
        retention = str(round(config.retention_days * MS_PER_DAY))
        new = NewTopic(topic, config.partitions, config.replicas, config={"retention.ms": retention})
        admin.create_topics([new], operation_timeout=config.connect_s)[topic].result(config.connect_s * 2)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise explain(settings, f"topic {topic}", error) from error


class TopicReader:
    """Look at a topic without being one of its consumers.

    Parameters
    ----------
    topic : str
    settings : Settings
    config : BrokerConfig
    """

    def __init__(self, topic: str, settings: Settings, config: BrokerConfig) -> None:
        self._topic, self._settings, self._config = topic, settings, config
        settled = {
            **client_config(settings),
            "group.id": "zsds-look",  # required by the library; nothing is ever committed under it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
        try:
            self._consumer = Consumer(settled)
        except KafkaException as error:
            raise explain(settings, "cannot make a consumer", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def ends(self) -> dict[int, int]:
        """Return for each partition the offset its next message will have.

        Raises
        ------
        TransientError
            If no broker says so in time. A topic just made, or a broker just started, needs a moment until
            partitions have leaders: it is asked again until then.
        """
        deadline = time.monotonic() + self._config.connect_s
        while True:
            try:
                return self._ends()
            except KafkaException as error:
                reason = explain(self._settings, f"end of topic {self._topic}", error)
                if time.monotonic() > deadline or not isinstance(reason, TransientError):
                    raise reason from error
            time.sleep(0.1)

    def _ends(self) -> dict[int, int]:
        wait = self._config.connect_s
        found = self._consumer.list_topics(self._topic, timeout=wait).topics[self._topic]
        if found.error is not None:
            raise KafkaException(found.error)
        partitions = [TopicPartition(self._topic, number) for number in found.partitions]
        return {
            partition.partition: self._consumer.get_watermark_offsets(partition, timeout=wait)[1]
            for partition in partitions
        }

    def candids_since(self, starts: Mapping[int, int]) -> set[int]:
        """Return the candids of messages from these offsets on, up to the ends of now.

        Raises
        ------
        TransientError
            If the topic cannot be read to its end.
        """
        ends = self.ends()
        open_ends = {number: end for number, end in ends.items() if end > starts.get(number, 0)}
        self._consumer.assign(
            [TopicPartition(self._topic, number, starts.get(number, 0)) for number in open_ends]
        )
        candids: set[int] = set()
        deadline = time.monotonic() + self._config.delivery_s
        while open_ends:
            message = self._consumer.poll(POLL_S)
            if message is None or message.error() is not None:
                if time.monotonic() > deadline:
                    raise TransientError("cannot be read to its end", subject=self._topic, remedy="try again")
                continue
            deadline = time.monotonic() + self._config.delivery_s
            number, offset = message.partition(), message.offset()
            if offset is not None and number in open_ends and offset + 1 >= open_ends[number]:
                del open_ends[number]
            candid = candid_of(message.headers())
            if candid is not None:
                candids.add(candid)
        return candids


def candid_of(headers: object) -> int | None:
    """Return the candid in the headers of a message; None in those of other systems."""
    for name, value in headers if isinstance(headers, list) else ():
        if name == CANDID_HEADER and isinstance(value, bytes) and value.isdigit():
            return int(value)
    return None
