"""Send packets and hear of each that it has arrived."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage

from zsds_tasks.broker.connection import BrokerConfig, client_config, explain
from zsds_tasks.broker.messages import CANDID_HEADER, Message
from zsds_tasks.errors import TransientError
from zsds_tasks.settings import Settings

POLL_S: Final = 0.1


class Sender:
    """An idempotent producer: within one delivery nothing is written twice, whatever brokers do.

    Parameters
    ----------
    settings : Settings
    config : BrokerConfig
    on_confirmed : callable
        Called with candids that all replicas in sync have, a few at a time.

    Raises
    ------
    ConfigurationError
        If no producer can be made of the settings.
    """

    def __init__(
        self, settings: Settings, config: BrokerConfig, on_confirmed: Callable[[list[int]], None]
    ) -> None:
        self._settings, self._config, self._on_confirmed = settings, config, on_confirmed
        self._confirmed: list[int] = []
        self._n_confirmed = 0
        self._error: KafkaError | None = None
        self._last = time.monotonic()
        try:
            self._producer = Producer(
                {
                    **client_config(settings),
                    "enable.idempotence": True,
                    "acks": "all",
                    "compression.type": config.compression,
                    "queue.buffering.max.messages": config.queue_messages,
                    "queue.buffering.max.kbytes": config.queue_mb * 1024,
                    "batch.size": config.batch_kb * 1024,
                    "linger.ms": config.linger_ms,
                    "message.timeout.ms": round(config.delivery_s * 1000),
                    "error_cb": self._on_error,
                }
            )
        except KafkaException as error:
            raise explain(settings, "cannot make a producer", error) from error

    def send(self, topic: str, messages: Iterable[Message]) -> int:
        """Send packets; return how many, all of them confirmed.

        Raises
        ------
        TransientError
            If some were not confirmed in time. `on_confirmed` has been told of those that were; whether
            others have arrived is not known.
        ConfigurationError
            If the broker refuses us or them.
        """
        self._last, self._n_confirmed = time.monotonic(), 0
        try:
            for message in messages:
                self._produce(topic, message)
                self._report(self._config.mark_every)
            while len(self._producer) and self._error is None:
                self._poll()
                self._report(self._config.mark_every)
        finally:
            # What is still queued must not go out behind our back after this call has failed.
            self._producer.purge()
            self._producer.poll(0)
            self._report(1)
        if self._error is not None:
            raise explain(self._settings, f"packets for {topic} were not confirmed", self._error)
        return self._n_confirmed

    def _produce(self, topic: str, message: Message) -> None:
        while self._error is None:
            try:
                self._producer.produce(
                    topic,
                    value=message.payload,
                    key=message.key.encode(),
                    headers=[(CANDID_HEADER, str(message.candid).encode())],
                    on_delivery=partial(self._on_delivery, message.candid),
                )
                self._producer.poll(0)
            except BufferError:
                self._poll()
            except KafkaException as error:
                raise explain(self._settings, f"packet {message.candid} for {topic}", error) from error
            else:
                return
        raise explain(self._settings, f"packets for {topic} were not confirmed", self._error)

    def _poll(self) -> None:
        """Wait for confirmations, but not for ever."""
        self._producer.poll(POLL_S)
        # The library gives up each packet after the same time; this is for one that gives no sign at all.
        if time.monotonic() - self._last > 2 * self._config.delivery_s:
            raise TransientError(
                "no sign of the broker", subject=f"Kafka at {self._settings.kafka_bootstrap_servers}",
                remedy="start it or wait for it; alerts are safe in the outbox",
            )  # fmt: skip

    def _on_delivery(self, candid: int, error: KafkaError | None, _: KafkaMessage) -> None:
        if error is None:
            self._last = time.monotonic()
            self._confirmed.append(candid)
        elif self._error is None:
            self._error = error

    def _on_error(self, error: KafkaError) -> None:
        """Hear of what befalls the connection; only what ends it matters: the library tries again."""
        if self._error is None and (error.fatal() or error.code() == KafkaError._AUTHENTICATION):  # noqa: SLF001 - the library's name
            self._error = error

    def _report(self, least: int) -> None:
        if len(self._confirmed) >= least:
            done, self._confirmed = self._confirmed, []
            self._n_confirmed += len(done)
            self._on_confirmed(done)
