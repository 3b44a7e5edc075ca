"""Which columns of sexcat are measured on the pixels; the others follow from the astrometric solution."""

from __future__ import annotations

from typing import Final

from zsds_tasks.products.fits_tables import APERTURE_CATALOG, CatalogColumn

DERIVED: Final = frozenset(
    {"ALPHAWIN_J2000", "DELTAWIN_J2000", "ERRAWIN_IMAGE", "ERRBWIN_IMAGE", "AWIN_WORLD", "BWIN_WORLD"}
)
"""Made from measured columns and the WCS when the catalogue is written."""
COLUMNS: Final[tuple[CatalogColumn, ...]] = tuple(c for c in APERTURE_CATALOG if c.name not in DERIVED)
"""What `ApertureCatalog` has, each under its name in lower case."""
