"""Whether there are calibrated images at all, which most stages wait for; asking imports little."""

from __future__ import annotations

from zsds_tasks.errors import NothingToDoError
from zsds_tasks.lakehouse import Lakehouse

IMAGES = "science_images"


def require_images(lakehouse: Lakehouse) -> None:
    """Raise unless an image has been calibrated.

    Raises
    ------
    NothingToDoError
        If none ever was: nothing can be made of them.
    """
    if not lakehouse.table(IMAGES).exists():
        raise NothingToDoError("no image has been calibrated yet", subject=IMAGES, remedy="process a night")
