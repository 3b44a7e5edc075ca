"""What a product was made with, as one short word: equal words mean equal code, settings and inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pydantic import BaseModel

from zsds_tasks import __version__

DIGITS = 12


def processing_version(stage: str, config: BaseModel, inputs: Iterable[str] = ()) -> str:
    """Return the version under which a stage works.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : pydantic.BaseModel
        Its configuration, defaults included.
    inputs : iterable of str
        Ids of calibrations, references and models used; their order does not matter.

    Returns
    -------
    str
        Twelve hexadecimal digits: a digest of the package's version, the stage, its configuration and inputs.
    """
    digest = hashlib.sha256()
    for part in (__version__, stage, config.model_dump_json(), *sorted(inputs)):
        # The length goes first, so that no two lists of parts run together to the same bytes.
        encoded = part.encode()
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:DIGITS]
