"""Where the files of one science image lie, from its row in `science_images`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IMAGE, MASK = "sciimg", "mskimg"
"""How the suffixes of image and mask begin."""


def product_path(row: Mapping[str, Any], suffix: str) -> str | None:
    """Return the place of a product under the archive's root.

    Parameters
    ----------
    row : mapping
        With ``path``, the place of the science image, and ``products``, the suffixes that were written, each
        behind its SHA-256 and a blank; either may be None.
    suffix : str
        How the suffix begins, such as ``mskimg``.

    Returns
    -------
    str or None
        None if it was not written.

    Examples
    --------
    >>> row = {"path": "sci/2018/a_q1_sciimg.fits", "products": ["0f sciimg.fits", "1f mskimg.fits"]}
    >>> product_path(row, "mskimg")
    'sci/2018/a_q1_mskimg.fits'
    """
    products, path = row["products"], row["path"]
    if products is None or not path or IMAGE not in path:
        return None
    names = (str(product).split()[-1] for product in products if str(product).strip())
    name = next((name for name in names if name.startswith(suffix)), None)
    return None if name is None else f"{path.rpartition(IMAGE)[0]}{name}"
