"""Everything that decides which candidates alert, what they are called and what their packets hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.science.alerts.assemble import PacketConfig
from zsds_tasks.science.alerts.history import HistoryConfig
from zsds_tasks.science.alerts.select import TriggerConfig
from zsds_tasks.science.naming.allot import NamingConfig

STAGE = "alerts"


class AlertsConfig(Declaration):
    """Configuration of alerts; ``include/config/alerts.yaml`` overrides the defaults."""

    trigger: TriggerConfig = TriggerConfig()
    naming: NamingConfig = NamingConfig()
    history: HistoryConfig = HistoryConfig()
    packet: PacketConfig = PacketConfig()
    neighbourhood_deg: Annotated[float, Field(gt=0)] = Field(
        1.5, description="images farther from a candidate than this do not cover it"
    )


def load_alerts_config(include: Path) -> AlertsConfig:
    """Read ``<include>/config/alerts.yaml``."""
    return read_declaration(include / "config" / f"{STAGE}.yaml", AlertsConfig)
