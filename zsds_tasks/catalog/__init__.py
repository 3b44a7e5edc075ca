"""Releases for those who use them: `open_catalog` and what it returns.

    from zsds_tasks.catalog import open_catalog

    catalog = open_catalog()                       # the newest release; "dr1", "live"
    near = catalog.cone("objects", 345.0, 32.0, radius_arcsec=60)
    curve = catalog.light_curve(near["objectid"][0].as_py())

LSDB, DuckDB and Polars are imported when they are asked for. See ``docs/analysts.md``.
"""

from zsds_tasks.catalog.catalog import Catalog, open_catalog
from zsds_tasks.catalog.light_curve import LightCurve, flat_curves, period_of

__all__ = ["Catalog", "LightCurve", "flat_curves", "open_catalog", "period_of"]
