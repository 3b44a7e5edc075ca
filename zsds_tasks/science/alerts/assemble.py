"""Put a packet together: the candidate, what came before it, and its stamps (reference section 7.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import Field

from zsds_tasks.declarations import Declaration
from zsds_tasks.products.packets import CUTOUTS, Packet, PacketSchema, Row

TEXT_FOR_NO_SCORE: Final = "none"


class PacketConfig(Declaration):
    """What every packet says of itself."""

    publisher: str = Field("ZSDS", min_length=1, description="who made the packet")


def assemble(
    candidate: Mapping[str, Any],
    object_id: str,
    previous: Sequence[Row],
    forced: Sequence[Row],
    cutouts: Mapping[str, Any],
    schema: PacketSchema,
    config: PacketConfig,
) -> Packet:
    """Return the packet of one candidate.

    Parameters
    ----------
    candidate : mapping
        Fields of the candidate by their published names; absent ones become null.
    object_id : str
    previous : sequence of dict
        Earlier detections and upper limits, as `History.previous` returns them.
    forced : sequence of dict
        Forced photometry, as `History.forced` returns it.
    cutouts : mapping
        As `name_cutouts` returns them; one that is absent becomes null.
    schema : PacketSchema
    config : PacketConfig

    Returns
    -------
    dict
        Every field of the schema. An empty history is null, as in ZTF's packets.

    Raises
    ------
    UnusableInputError
        If the candidate lacks what the schema requires; names it.
    """
    detection = schema.record("candidate").complete(
        {
            **candidate,
            **{name: candidate.get(name) or TEXT_FOR_NO_SCORE for name in ("rbversion", "drbversion")},
        }
    )
    return {
        "schemavsn": schema.version,
        "publisher": config.publisher,
        "objectId": object_id,
        "candid": detection["candid"],
        "candidate": detection,
        "prv_candidates": previous or None,
        "fp_hists": forced or None,
        **{name: cutouts.get(name) for name in CUTOUTS},
    }
