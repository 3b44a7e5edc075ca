"""How to reach the brokers, and what their errors mean to us."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final

from confluent_kafka import KafkaError, KafkaException
from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.errors import ConfigurationError, TransientError, ZsdsError
from zsds_tasks.settings import Settings

logger = logging.getLogger(__name__)

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]

OURS_TO_MEND: Final = frozenset(
    {
        KafkaError._AUTHENTICATION,  # noqa: SLF001 - the library's public name of a local error
        KafkaError._SSL,  # noqa: SLF001 - as above
        KafkaError._INVALID_ARG,  # noqa: SLF001 - as above
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.INVALID_REPLICATION_FACTOR,
        KafkaError.INVALID_PARTITIONS,
        KafkaError.MSG_SIZE_TOO_LARGE,
    }
)
"""Errors that no waiting mends."""


class BrokerConfig(Declaration):
    """How packets are sent; addresses and secrets come from the environment."""

    partitions: Count = Field(16, description="of a new topic")
    replicas: Count = Field(1, description="of a new topic: copies of each partition")
    retention_days: Positive = Field(7.0, description="of a new topic")
    creates_topics: bool = Field(True, description="else somebody else makes them")
    compression: str = Field("lz4", description="of batches on the wire: the schema is in every packet")
    queue_messages: Count = Field(1000, description="packets that wait in memory")
    queue_mb: Count = Field(256, description="memory in which they wait")
    batch_kb: Count = Field(1000, description="sent at once")
    linger_ms: int = Field(20, ge=0, description="wait for more before a batch goes")
    connect_s: Positive = Field(10.0, description="for the first answer of a broker")
    delivery_s: Positive = Field(
        120.0, description="for a packet to be confirmed, restarts of brokers included"
    )
    mark_every: Count = Field(200, description="confirmed packets that are noted on disk at once")
    settle_s: float = Field(2.0, ge=0, description="after a broken delivery, before the topic is looked at")


def client_config(settings: Settings) -> dict[str, Any]:
    """Return what every client of Kafka needs to know.

    Raises
    ------
    ConfigurationError
        If there is no broker, or SASL without name and password.
    """
    servers = settings.kafka_bootstrap_servers.strip()
    if not servers:
        raise ConfigurationError(
            "no Kafka broker is configured", subject="ZSDS_KAFKA_BOOTSTRAP_SERVERS", remedy="name host:port"
        )
    config: dict[str, Any] = {
        "bootstrap.servers": servers,
        "security.protocol": settings.kafka_security_protocol,
        "client.id": "zsds",
        "reconnect.backoff.max.ms": 2000,
        "logger": logger,
        "log_level": 2,  # it tries again by itself and logs every try; what it cannot do comes as an error
    }
    if settings.kafka_ca_file is not None:
        config["ssl.ca.location"] = str(settings.kafka_ca_file)
    if settings.kafka_security_protocol.startswith("SASL"):
        password = settings.kafka_sasl_password.get_secret_value()
        if not settings.kafka_sasl_username or not password:
            raise ConfigurationError(
                "no name or no password for Kafka",
                subject=f"ZSDS_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol}",
                remedy="set ZSDS_KAFKA_SASL_USERNAME and ZSDS_KAFKA_SASL_PASSWORD",
            )
        config["sasl.mechanism"] = settings.kafka_sasl_mechanism
        config["sasl.username"] = settings.kafka_sasl_username
        config["sasl.password"] = password
    return config


def explain(settings: Settings, doing: str, error: KafkaException | KafkaError) -> ZsdsError:
    """Return our error for one of Kafka's: to wait, or for a human to mend."""
    inner = error.args[0] if isinstance(error, KafkaException) else error
    subject = f"Kafka at {settings.kafka_bootstrap_servers}"
    if not isinstance(inner, KafkaError):
        return ConfigurationError(f"{doing}: {inner}", subject=subject, remedy="correct ZSDS_KAFKA_...")
    reason = f"{doing}: {inner.str()}"
    if inner.code() in OURS_TO_MEND:
        return ConfigurationError(
            reason, subject=subject, remedy="correct ZSDS_KAFKA_... or the rights there"
        )
    return TransientError(
        reason, subject=subject, remedy="start the broker or wait for it; alerts are safe in the outbox"
    )
