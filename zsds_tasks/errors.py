"""Every failure of ours, as a tree whose types say what the scheduler should do.

ZsdsError
├── TransientError        the world is in the way (network, lock, full disk): retry later
├── UnusableInputError    this input can never work: fail it with its reason, go on with the rest
├── NothingToDoError      no work for this request: skip
└── ConfigurationError    a file or variable of ours is wrong: a human must mend it
    └── DeclarationError  ... a YAML declaration, with the key and the reason

The mapping to Airflow's outcomes lives in `plugins/zsds_airflow/outcomes.py` and nowhere else.
"""

from __future__ import annotations

from typing import Any


class ZsdsError(Exception):
    """Base of all our errors: what happened, to what, and what to do about it.

    Parameters
    ----------
    reason : str
        One sentence, without the subject.
    subject : str, optional
        The file, identifier or key it happened to.
    remedy : str, optional
        What the reader can do.
    **facts
        Numbers and names that belong to the case, kept for rows and logs.
    """

    def __init__(self, reason: str, *, subject: str = "", remedy: str = "", **facts: Any) -> None:
        self.reason = reason
        self.subject = subject
        self.remedy = remedy
        self.facts = facts
        text = f"{subject}: {reason}" if subject else reason
        if facts:
            text += " (" + ", ".join(f"{name}={value}" for name, value in facts.items()) + ")"
        if remedy:
            text += f". Remedy: {remedy}"
        super().__init__(text)

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray and multiprocessing pickle errors; keyword-only arguments need help to survive it.
        return _rebuild, (type(self), self.reason, self.subject, self.remedy, self.facts)


def _rebuild(
    cls: type[ZsdsError], reason: str, subject: str, remedy: str, facts: dict[str, Any]
) -> ZsdsError:
    return cls(reason, subject=subject, remedy=remedy, **facts)


class TransientError(ZsdsError):
    """The world is in the way; the same call may succeed later."""


class UnusableInputError(ZsdsError):
    """An input that can never be processed; record the reason and go on."""


class NothingToDoError(ZsdsError):
    """There is no work for this request."""


class ConfigurationError(ZsdsError):
    """Something we were told is wrong and a human must mend it."""


class DeclarationError(ConfigurationError):
    """A declaration under include/ is wrong; the message names file, key and reason."""
