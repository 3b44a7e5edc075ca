"""Bring the outbox to the broker, if there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zsds_tasks.broker import BrokerConfig, Outbox, deliver
from zsds_tasks.declarations import read_declaration
from zsds_tasks.errors import NothingToDoError
from zsds_tasks.settings import Settings


def load_broker_config(include: Path) -> BrokerConfig:
    """Read ``<include>/config/broker.yaml``."""
    return read_declaration(include / "config" / "broker.yaml", BrokerConfig)


def send_alerts(settings: Settings, on_sent: Callable[[int], None] | None = None) -> dict[str, Any]:
    """Deliver every packet that waits.

    Parameters
    ----------
    settings : Settings
    on_sent : callable, optional
        Told how many more are confirmed.

    Returns
    -------
    dict
        Packets confirmed now, packets found there already, both by topic; bundles that could not be read.

    Raises
    ------
    NothingToDoError
        If there is no broker: packets wait, and are sent when one is configured.
    TransientError, ConfigurationError
        If brokers are away, or refuse us; what was confirmed is known.
    """
    outbox = Outbox(settings.outbox_folder)
    if not settings.kafka_bootstrap_servers.strip():
        waiting = sum(outbox.count().values())
        raise NothingToDoError(
            f"no broker is configured; {waiting} packets wait in {settings.outbox_folder}",
            remedy="set ZSDS_KAFKA_BOOTSTRAP_SERVERS and run `zsds alerts send`",
        )
    done = deliver(outbox, settings, load_broker_config(settings.include), on_sent)
    return {"sent": done.sent, "found": done.found, "spoilt": [str(path) for path in done.spoilt]}
