"""Read, hash and verify one delivered file; runs in parallel workers and changes nothing."""

from __future__ import annotations

import hashlib
import os
import traceback
from dataclasses import dataclass
from pathlib import Path

from zsds_tasks.errors import TransientError
from zsds_tasks.science.raw import DefectCode, RawFrame, RawRules, Refusal, oversize_reason, verify
from zsds_tasks.steps.incoming import Delivery

CHUNK = 1 << 20


@dataclass(frozen=True)
class LeftAlone:
    """A file that stays in the incoming folder, and why."""

    reason: str


@dataclass(frozen=True)
class Inspection:
    """What was found in one file."""

    delivery: Delivery
    sha256: str
    outcome: RawFrame | Refusal | LeftAlone


def inspect(delivery: Delivery, rules: RawRules) -> Inspection:
    """Inspect one delivered file.

    Parameters
    ----------
    delivery : Delivery
    rules : RawRules

    Returns
    -------
    Inspection
        Whatever the file holds: a defect of ours becomes a refusal with its traceback, so that the file is
        kept and the night goes on.

    Raises
    ------
    TransientError
        If memory runs out.
    """
    try:
        digest, data = _read(delivery.path, rules.max_file_bytes)
    except FileNotFoundError:
        return Inspection(delivery, "", LeftAlone("it is gone"))
    except OSError as error:
        return Inspection(delivery, "", LeftAlone(f"it cannot be read: {error.strerror}"))
    except MemoryError as error:
        raise _no_memory(delivery) from error
    if not delivery.is_unchanged():
        return Inspection(delivery, "", LeftAlone("it is still being written"))
    if data is None:
        reason = oversize_reason(delivery.size, rules)
        return Inspection(delivery, digest, Refusal.of(DefectCode.OVERSIZED, reason))
    return Inspection(delivery, digest, examine(data, delivery.name, rules))


def examine(data: bytes, filename: str, rules: RawRules) -> RawFrame | Refusal:
    """Verify bytes; an error of our own becomes a refusal that carries its traceback."""
    try:
        return verify(data, filename, rules)
    except MemoryError as error:
        raise TransientError("memory ran out", subject=filename, remedy="lower ZSDS_WORKERS") from error
    except Exception as error:  # noqa: BLE001 - one file that trips a bug of ours must not stop the night
        return Refusal.of(
            DefectCode.INTERNAL_ERROR,
            f"verification failed: {type(error).__name__}: {error}",
            traceback=traceback.format_exc(),
        )


def _read(path: Path, limit: int) -> tuple[str, bytes | None]:
    """Return the SHA-256 and the content; None for a file above the limit, which is hashed in pieces."""
    digest = hashlib.sha256()
    # Neither follow a link nor wait at a pipe that took the name since we looked.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        if os.fstat(descriptor).st_size <= limit:
            data = stream.read(limit + 1)
            if len(data) <= limit:
                digest.update(data)
                return digest.hexdigest(), data
            stream.seek(0)
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest(), None


def _no_memory(delivery: Delivery) -> TransientError:
    return TransientError("memory ran out", subject=str(delivery.path), remedy="lower ZSDS_WORKERS")
