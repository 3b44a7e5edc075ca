"""Light curves: detections matched to stars, images brought to one zero point, epochs gathered by star."""

from zsds_tasks.steps.lightcurves.run import LightCurveSummary, update_lightcurves

__all__ = ["LightCurveSummary", "update_lightcurves"]
