"""A packet as bytes: one Avro object container with its schema inside, as issued by ZTF (section 7.4).

The same packet always gives the same bytes: the synchronisation marker of the container is a digest of the
schema, not a random number.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import fastavro

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import Packet, PacketSchema
from zsds_tasks.science.alerts.writer import RecordWriter, encode_bytes, encode_long

MAGIC = b"Obj\x01"
ONE_RECORD = encode_long(1)


class PacketEncoder:
    """Encode packets of one schema; make it once, it is dear.

    Parameters
    ----------
    schema : PacketSchema
    """

    def __init__(self, schema: PacketSchema) -> None:
        self.schema = schema
        self._writer = RecordWriter(schema.alert)
        text = schema.text.encode()
        self._sync = hashlib.blake2b(text, digest_size=16).digest()
        metadata = {b"avro.codec": b"null", b"avro.schema": text}
        entries = b"".join(encode_bytes(key) + encode_bytes(value) for key, value in metadata.items())
        self._head = MAGIC + encode_long(len(metadata)) + entries + encode_long(0) + self._sync + ONE_RECORD

    def encode(self, packet: Mapping[str, Any]) -> bytes:
        """Return the Avro object container that holds one packet.

        Parameters
        ----------
        packet : mapping
            All fields of the schema by their published names, as `assemble` makes it.

        Raises
        ------
        UnusableInputError
            If the packet does not fit the schema; names record, field and value.
        """
        body = self._writer.write(packet)
        return b"".join((self._head, encode_long(len(body)), body, self._sync))


@lru_cache(maxsize=4)
def encoder_of(schema: PacketSchema) -> PacketEncoder:
    """Return the encoder of a schema, made once per process."""
    return PacketEncoder(schema)


def decode_packet(data: bytes) -> Packet:
    """Return the packet of an Avro object container of any schema version, by the schema inside it.

    Raises
    ------
    UnusableInputError
        If the bytes are no container with exactly one record.
    """
    try:
        packets = list(fastavro.reader(io.BytesIO(data)))
    except (ValueError, EOFError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise UnusableInputError(f"no alert packet: {error}", remedy="fetch it anew") from error
    if len(packets) != 1 or not isinstance(packets[0], dict):
        raise UnusableInputError("a packet is a container with one record", records=len(packets))
    return packets[0]
