"""An image as the bytes of a tile-compressed FITS file, and back; the same image gives the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError

QUANTIZE_LEVEL = 16.0
"""Steps per noise sigma of a tile: rounding adds 1.8 per cent of that sigma, in quadrature."""
TILE_ROWS = 32
"""Rows of a tile: the library's cost is per tile."""
DITHER_SEED = 1
"""Fixed: the clock would give other bytes every time."""

Card = tuple[str, str | int | float | bool, str]
"""Keyword, value, comment."""


def encode_image(
    image: NDArray[np.float32] | NDArray[np.uint16], cards: Iterable[Card], *, name: str
) -> bytes:
    """Return a FITS file with one Rice-compressed image in its first extension.

    Parameters
    ----------
    image : numpy.ndarray (ny, nx), float32 or uint16
        Floats are quantised to `QUANTIZE_LEVEL` steps per noise sigma with subtractive dithering, NaN stays
        NaN; integers are kept exactly.
    cards : iterable of Card
        Keywords of the image, in order.
    name : str
        EXTNAME.

    Returns
    -------
    bytes
    """
    header = fits.Header()
    for keyword, value, comment in cards:
        header.append((keyword, value, comment), end=True)
    is_float = image.dtype.kind == "f"
    options = {"quantize_level": QUANTIZE_LEVEL, "quantize_method": 1, "dither_seed": DITHER_SEED}
    hdu = fits.CompImageHDU(
        image,
        header,
        name=name,
        compression_type="RICE_1",
        tile_shape=(min(TILE_ROWS, image.shape[0]), image.shape[1]),
        **(options if is_float else {}),
    )
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(stream)
    return stream.getvalue()


def decode_image(data: bytes, *, subject: str) -> NDArray[Any]:
    """Return the image (float32 or uint16) of a file that `encode_image` made, in native byte order.

    Parameters
    ----------
    data : bytes
    subject : str
        The file, named in errors.

    Raises
    ------
    UnusableInputError
        If the bytes are no such file.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            with fits.open(io.BytesIO(data)) as hdus:
                image = hdus[1].data
    except (OSError, ValueError, TypeError, IndexError, KeyError, AstropyUserWarning) as error:
        raise UnusableInputError(
            f"no compressed FITS image can be read: {error}", subject=subject, remedy="build it again"
        ) from error
    return np.ascontiguousarray(image, np.float32 if image.dtype.kind == "f" else np.uint16)
