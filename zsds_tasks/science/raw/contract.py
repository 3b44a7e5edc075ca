"""Hold headers against the header contract: every missing or malformed keyword is named."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable

from zsds_tasks.pixels.fits import CardError, Header, Value
from zsds_tasks.survey.headers import HeaderKeyword

FieldValue = str | int | float | bool | dt.datetime
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?", re.ASCII)


def read_fields(
    header: Header, keywords: Iterable[HeaderKeyword], imgtypecode: str, *, where: str
) -> tuple[dict[str, FieldValue], list[str]]:
    """Read the contract's keywords from one header.

    Parameters
    ----------
    header : Header
    keywords : iterable of HeaderKeyword
        Those of the header's scope.
    imgtypecode : str
        Kind of frame: it decides what must be there. What may be absent must still be right when present.
    where : str
        Put before keywords in the sentences, such as ``HDU 3``; empty for the primary header.

    Returns
    -------
    values : dict
        Field -> value, of those that are present and right.
    faults : list of str
        One sentence per missing or malformed keyword.
    """
    values: dict[str, FieldValue] = {}
    faults: list[str] = []
    for keyword in keywords:
        subject = f"{where} {keyword.keyword}".strip()
        try:
            raw = header.value(keyword.keyword)
            if raw is None:
                if keyword.needed_for(imgtypecode):
                    faults.append(f"{subject} is missing")
                continue
            values[keyword.field] = _typed(raw, keyword)
        except CardError as error:
            faults.append(f"{subject} {error}")
    return values, faults


def _typed(raw: Value, keyword: HeaderKeyword) -> FieldValue:
    value = _READERS[keyword.type](raw)
    if keyword.range is not None and isinstance(value, int | float):
        low, high = keyword.range
        if not low <= value <= high:
            raise CardError(f"is {value:g}, not within {low:g} to {high:g}")
    if keyword.pattern and re.fullmatch(keyword.pattern, str(value)) is None:
        raise CardError(f"is {value!r}, which does not match {keyword.pattern}")
    return value


def _text(raw: Value) -> str:
    if not isinstance(raw, str) or not raw:
        raise CardError(f"is {raw!r}, not a text")
    return raw


def _integer(raw: Value) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise CardError(f"is {raw!r}, not an integer")
    return raw


def _real(raw: Value) -> float:
    if not isinstance(raw, int | float) or isinstance(raw, bool) or not math.isfinite(raw):
        raise CardError(f"is {raw!r}, not a finite number")
    return float(raw)


def _logical(raw: Value) -> bool:
    if not isinstance(raw, bool):
        raise CardError(f"is {raw!r}, not T or F")
    return raw


def _instant(raw: Value) -> dt.datetime:
    if not isinstance(raw, str) or _INSTANT.fullmatch(raw) is None:
        raise CardError(f"is {raw!r}, not YYYY-MM-DDThh:mm:ss.sss")
    try:
        return dt.datetime.fromisoformat(raw[:26]).replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise CardError(f"is {raw!r}: {error}") from error


_READERS: dict[str, Callable[[Value], FieldValue]] = {
    "str": _text,
    "int": _integer,
    "float": _real,
    "bool": _logical,
    "datetime": _instant,
}
