"""Everything that decides which candidates alert, what they are called and what their packets hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from zsds_tasks.declarations import Declaration, read_declaration
from zsds_tasks.science.alerts.assemble import PacketConfig
from zsds_tasks.science.alerts.history import HistoryConfig
from zsds_tasks.science.alerts.select import TriggerConfig
from zsds_tasks.science.forced.measure import ForcedConfig
from zsds_tasks.science.naming.allot import NamingConfig
from zsds_tasks.steps.alerts.known import KnownConfig

STAGE = "alerts"


class AlertsConfig(Declaration):
    """Configuration of alerts; ``include/config/alerts.yaml`` overrides the defaults."""

    trigger: TriggerConfig = TriggerConfig()
    naming: NamingConfig = NamingConfig()
    history: HistoryConfig = HistoryConfig()
    packet: PacketConfig = PacketConfig()
    forced: ForcedConfig = ForcedConfig()
    forced_reference_arcsec: Annotated[float, Field(gt=0)] = Field(
        5.0, description="forced photometry names the nearest source of the reference so far away"
    )
    parallel_over: int = Field(
        2000, ge=1, description="from so many forced measurements on, an exposure's are spread over workers"
    )
    known: KnownConfig = KnownConfig()
    neighbourhood_deg: Annotated[float, Field(gt=0)] = Field(
        1.5, description="images farther from a candidate than this do not cover it"
    )


def load_alerts_config(include: Path) -> AlertsConfig:
    """Read ``<include>/config/alerts.yaml``."""
    return read_declaration(include / "config" / f"{STAGE}.yaml", AlertsConfig)
