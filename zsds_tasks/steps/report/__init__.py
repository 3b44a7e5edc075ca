"""The night report: one page that says how a night went, and the numbers behind it."""

from zsds_tasks.steps.report.build import build_report
from zsds_tasks.steps.report.gather import NightFacts, gather, night_summary

__all__ = ["NightFacts", "build_report", "gather", "night_summary"]
