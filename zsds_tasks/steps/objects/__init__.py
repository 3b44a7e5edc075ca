"""Objects: statistics of light curves, stars across filters and fields, one scale for the whole survey."""

from zsds_tasks.steps.objects.run import ObjectsSummary, update_objects
from zsds_tasks.steps.objects.survey import SurveySummary, solve_survey

__all__ = ["ObjectsSummary", "SurveySummary", "solve_survey", "update_objects"]
