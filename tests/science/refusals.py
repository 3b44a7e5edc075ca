"""What a refusal must say."""

from zsds_tasks.science.raw import Refusal
from zsds_tasks.science.raw.defects import REMEDIES


def refused(outcome, code, *parts):
    assert isinstance(outcome, Refusal), outcome
    assert outcome.code == code, outcome.reason
    for part in parts:
        assert part in outcome.reason
    assert outcome.remedy == REMEDIES[outcome.code]
