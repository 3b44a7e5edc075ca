"""Binary tables of FITS: columns in, bytes out, and back. The same columns give the same bytes.

Fixed-width columns only: numbers, logicals and texts, one or several to a row. Format: FITS Standard 4.0,
section 7.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.pixels.fits import Hdu, StructureError, scan
from zsds_tasks.pixels.fits_writer import Card, format_hdu, primary_hdu

MAX_COLUMNS = 999
FORMATS = {"b1": "L", "u1": "B", "i2": "I", "i4": "J", "i8": "K", "f4": "E", "f8": "D"}
_TYPES = {letter: code for code, letter in FORMATS.items()}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_TFORM = re.compile(r"([0-9]{0,4})([LBIJKEDA])")


class Column(NamedTuple):
    """One column of a table; a plain (values, unit) will do as well.

    Parameters
    ----------
    values : numpy.ndarray (N) or (N, k)
        bool, uint8, int16, int32, int64, float32, float64 or ASCII text.
    unit : str
        TUNIT; empty for none.
    comment : str
        What it is, behind its name in the header.
    """

    values: NDArray[Any]
    unit: str = ""
    comment: str = ""


def encode_table(
    columns: Mapping[str, Column | tuple[NDArray[Any], str] | tuple[NDArray[Any], str, str]],
    cards: Iterable[Card],
    *,
    name: str,
) -> bytes:
    """Return a FITS file with one binary table in its first extension.

    Parameters
    ----------
    columns : Mapping of str to Column
        In order; all of the same length, which may be 0.
    cards : iterable of Card
        Keywords of the table, in order.
    name : str
        EXTNAME.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If a column cannot be written, or their lengths differ; names it.
    """
    stated = {key: Column(*column) for key, column in columns.items()}
    table = _filled(stated)
    own: list[Card] = [
        ("XTENSION", "BINTABLE", "a table"),
        ("BITPIX", 8, ""),
        ("NAXIS", 2, ""),
        ("NAXIS1", table.dtype.itemsize, "bytes of a row"),
        ("NAXIS2", len(table), "rows"),
        ("PCOUNT", 0, ""),
        ("GCOUNT", 1, ""),
        ("TFIELDS", len(stated), "columns"),
    ]
    for number, (key, column) in enumerate(stated.items(), start=1):
        own.append((f"TTYPE{number}", key, column.comment))
        own.append((f"TFORM{number}", _format(column.values), ""))
        if column.unit:
            own.append((f"TUNIT{number}", column.unit, ""))
    data = table.view(np.uint8) if table.size else np.zeros(0, np.uint8)
    header, fill = format_hdu([*own, ("EXTNAME", name, ""), *cards], data)
    return b"".join([primary_hdu(), header, data.data, fill])


def decode_table(data: bytes, *, subject: str) -> dict[str, NDArray[Any]]:
    """Return the columns of the first extension's table, in native byte order.

    Parameters
    ----------
    data : bytes
        A file of `encode_table`, or any whose table has fixed-width columns of its types.
    subject : str
        The file, named in errors.

    Raises
    ------
    UnusableInputError
        If the bytes are no such file.
    """
    try:
        hdus = scan(data)
        if len(hdus) < 2:
            raise StructureError("there is no extension")
        return _columns(data, hdus[1])
    except UnusableInputError as error:
        raise UnusableInputError(
            f"no FITS table can be read: {error.reason}", subject=subject, remedy="build it again"
        ) from error


def _filled(columns: Mapping[str, Column]) -> NDArray[np.void]:
    """Return the rows as they are stored."""
    if not 1 <= len(columns) <= MAX_COLUMNS:
        raise ValueError(f"{len(columns)} columns; a table has 1 to {MAX_COLUMNS}")
    rows = {len(column.values) for column in columns.values()}
    if len(rows) > 1:
        lengths = ", ".join(f"{key} {len(column.values)}" for key, column in columns.items())
        raise ValueError(f"columns of different lengths: {lengths}")
    for key in columns:
        if _NAME.fullmatch(key) is None:
            raise ValueError(f"{key!r} is no name for a column")
    stored = [(key, *_stored_type(key, column.values)) for key, column in columns.items()]
    table = np.empty(rows.pop(), np.dtype(stored))
    for key, column in columns.items():
        table[key] = np.where(column.values, ord("T"), ord("F")) if _is_bool(column) else column.values
    return table


def _is_bool(column: Column) -> bool:
    return bool(column.values.dtype == np.bool_)


def _stored_type(key: str, values: NDArray[Any]) -> tuple[str, tuple[int, ...]]:
    code = values.dtype.str[1:]
    if values.ndim not in {1, 2} or (values.dtype.kind not in "US" and code not in FORMATS):
        raise ValueError(f"{key}: {values.ndim} dimensions of {values.dtype} have no format")
    if values.dtype.kind in "US":
        if values.ndim != 1:
            raise ValueError(f"{key}: one text to a row, not {values.shape[1]}")
        return f"S{_width(values)}", ()
    return ("u1" if code == "b1" else f">{code}"), values.shape[1:]


def _width(values: NDArray[Any]) -> int:
    return max(values.dtype.itemsize // (4 if values.dtype.kind == "U" else 1), 1)


def _format(values: NDArray[Any]) -> str:
    if values.dtype.kind in "US":
        return f"{_width(values)}A"
    return f"{values.shape[1] if values.ndim == 2 else ''}{FORMATS[values.dtype.str[1:]]}"


def _columns(data: bytes, hdu: Hdu) -> dict[str, NDArray[Any]]:
    header = hdu.header
    if header.text("XTENSION") != "BINTABLE" or "ZIMAGE" in header:
        raise StructureError("the first extension is no table")
    fields: list[tuple[str, str, tuple[int, ...]]] = []
    names: list[tuple[str, str]] = []
    for number in range(1, header.integer("TFIELDS") + 1):
        match = _TFORM.fullmatch(header.text(f"TFORM{number}"))
        if match is None:
            raise StructureError(f"TFORM{number} is {header.text(f'TFORM{number}')!r}")
        repeat, letter = int(match[1] or 1), match[2]
        names.append((header.text(f"TTYPE{number}"), letter))
        if letter == "A":
            fields.append((f"c{number}", f"S{repeat}", ()))
        else:
            code = "u1" if letter == "L" else f">{_TYPES[letter]}"
            fields.append((f"c{number}", code, () if match[1] in {"", "1"} else (repeat,)))
    dtype, rows = np.dtype(fields), header.integer("NAXIS2")
    if dtype.itemsize != header.integer("NAXIS1"):
        raise StructureError(
            f"its columns take {dtype.itemsize} bytes, NAXIS1 says {header.integer('NAXIS1')}"
        )
    table = np.frombuffer(data, dtype, count=rows, offset=hdu.data_start)
    return {
        name: _native(table[f"c{number}"], letter) for number, (name, letter) in enumerate(names, start=1)
    }


def _native(stored: NDArray[Any], letter: str) -> NDArray[Any]:
    if letter == "L":
        return stored == ord("T")
    if letter == "A":
        return stored.astype(f"U{stored.dtype.itemsize}")
    return stored.astype(stored.dtype.newbyteorder("="))
