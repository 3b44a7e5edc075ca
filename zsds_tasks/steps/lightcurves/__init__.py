"""Light curves: detections matched to stars, images brought to one zero point, epochs gathered by star."""

from zsds_tasks.steps.lightcurves.run import LightCurveSummary, update_lightcurves
from zsds_tasks.steps.lightcurves.work import require_images

__all__ = ["LightCurveSummary", "require_images", "update_lightcurves"]
