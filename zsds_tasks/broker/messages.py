"""What is sent, and on which topic (reference section 7.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from zsds_tasks.errors import UnusableInputError

CANDID_HEADER: Final = "candid"
"""Kafka header that names the packet, so that nobody need decode it to know whether it is there."""
_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Message:
    """One packet on its way.

    Parameters
    ----------
    candid : int
        Tells it from every other: nothing is sent twice under one candid.
    key : str
        The objectId: packets of one object keep their order.
    payload : bytes
        The Avro object container.
    """

    candid: int
    key: str
    payload: bytes

    def __post_init__(self) -> None:
        if not 0 < self.candid < 1 << 63:
            raise UnusableInputError("a candid is a positive 64-bit integer", subject=str(self.candid))
        if _KEY.fullmatch(self.key) is None:
            raise UnusableInputError("not the name of an object", subject=repr(self.key))


def topic_name(night: str, programid: int) -> str:
    """Return ``ztf_<YYYYMMDD>_programid<N>``, the topic of a UT night and an access class.

    Raises
    ------
    UnusableInputError
        If the night is not eight digits, or the programme not one digit.
    """
    if re.fullmatch(r"[0-9]{8}", night) is None or not 0 <= programid <= 9:
        raise UnusableInputError(
            "a topic is of a night YYYYMMDD and a programme 0 to 9", subject=f"{night!r}, {programid!r}"
        )
    return f"ztf_{night}_programid{programid}"
