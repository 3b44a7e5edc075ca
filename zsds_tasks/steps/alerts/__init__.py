"""Alerts: candidates that trigger get names, a past, stamps, and wait as packets in the outbox."""

from zsds_tasks.steps.alerts.configuration import AlertsConfig, load_alerts_config
from zsds_tasks.steps.alerts.run import AlertSummary, make_alerts

__all__ = ["AlertSummary", "AlertsConfig", "load_alerts_config", "make_alerts"]
