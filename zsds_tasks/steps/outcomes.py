"""What steps that work through many things have in common: one that fails is told, the others go on."""

from __future__ import annotations

from collections.abc import Sequence

from zsds_tasks.errors import ConfigurationError, TransientError, UnusableInputError

SHOWN = 20


def reason_of(error: Exception, subject: str) -> str:
    """Return why one thing failed, for its row.

    Raises
    ------
    TransientError, ConfigurationError
        If the failure is not that thing's own: the error itself, or a `TransientError` where memory ran out.
    """
    if isinstance(error, TransientError | ConfigurationError):
        raise error
    if isinstance(error, MemoryError):  # of this machine, now; not of this image
        raise TransientError(
            "memory ran out", subject=subject, remedy="lower ZSDS_WORKERS and run again"
        ) from error
    return str(error) if isinstance(error, UnusableInputError) else f"{type(error).__name__}: {error}"


def shortened(words: Sequence[str], most: int = SHOWN) -> list[str]:
    """Return the first words for a log, and how many more there are."""
    more = len(words) - most
    return [*words[:most], *([f"and {more} more"] if more > 0 else [])]
