"""Write records of the packet as Avro binary: functions made from the schema.

A general library asks every value of every union what it is. Here the schema is known: for each pattern of
nulls that rows show, one expression is compiled that packs runs of numbers at once and has the nulls as
constants. Rows of a survey show few patterns. fastavro is the oracle in the tests.
Format: Apache Avro 1.11 specification, binary encoding.
"""

from __future__ import annotations

import struct
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

from zsds_tasks.errors import UnusableInputError
from zsds_tasks.products.packets import PacketField, RecordType, Row

NULL, VALUE = b"\x00", b"\x02"
"""Branch of a union of null and a type, as a long."""
LIMITS = {"int": 1 << 31, "long": 1 << 63}
CODES = {"float": "f", "double": "d"}
COMMON = 20
"""Rows with one pattern of nulls before it gets an expression of its own, which takes a millisecond."""
MOST_PATTERNS = 4096
"""Patterns remembered per record; beyond that somebody feeds noise."""

LAST_PAIR = (1 << 14) - 1
PAIRS = tuple(bytes(((k & 0x7F) | 0x80, (k >> 7) | 0x80)) for k in range(LAST_PAIR + 1))
"""Two bytes at once of a long that goes on."""

Plan = Callable[[Sequence[Any]], bytes]


def encode_long(value: int) -> bytes:
    """Return an integer as Avro writes int and long: zigzag, seven bits a byte, the lowest first."""
    rest = value << 1 if value >= 0 else (-value << 1) - 1
    out = b""
    while rest > LAST_PAIR:
        out += PAIRS[rest & LAST_PAIR]
        rest >>= 14
    if rest > 0x7F:
        return out + bytes(((rest & 0x7F) | 0x80, rest >> 7))
    return out + bytes((rest,))


def encode_bytes(value: bytes) -> bytes:
    """Return bytes behind their length."""
    return encode_long(len(value)) + value


class EncodedRows(Sequence[Row]):
    """Rows that can say what they are as Avro binary, one behind the other.

    Parameters
    ----------
    record : RecordType
    """

    def __init__(self, record: RecordType) -> None:
        self.record = record

    @abstractmethod
    def encoded(self) -> bytes:
        """Return all rows as `RecordWriter` writes them.

        Raises
        ------
        UnusableInputError
            If one does not fit; names record and field.
        """


class RecordWriter:
    """Write rows of one record.

    Parameters
    ----------
    record : RecordType
    """

    def __init__(self, record: RecordType) -> None:
        self.record = record
        self._values = itemgetter(*record.names)
        self._plans: dict[tuple[bool, ...], Plan] = {}
        self._seen: dict[tuple[bool, ...], int] = {}
        self._writers = [field_writer(field) for field in record.fields]

    def write(self, row: Mapping[str, Any]) -> bytes:
        """Return a row as Avro binary.

        Parameters
        ----------
        row : mapping
            Every field of the record by its published name; others are left alone.

        Raises
        ------
        UnusableInputError
            If a field is absent, null without leave, of another type, or out of range; names it.
        """
        try:
            values = self._values(row)
            pattern = tuple([value is None for value in values])
            plan = self._plans.get(pattern)
            return self._rare(pattern, values) if plan is None else plan(values)
        except UnusableInputError:
            raise
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError, struct.error) as error:
            raise self._explain(row, error) from error

    def _rare(self, pattern: tuple[bool, ...], values: Sequence[Any]) -> bytes:
        """Write a row field by field; see whether its pattern is worth more."""
        if len(self._seen) >= MOST_PATTERNS:
            self._seen.clear()
            self._plans.clear()
        self._seen[pattern] = self._seen.get(pattern, 0) + 1
        if self._seen[pattern] >= COMMON:
            self._plans[pattern] = self._plan(pattern)
        parts = []
        for field, value, write in zip(self.record.fields, values, self._writers, strict=True):
            if value is not None:
                parts.append(VALUE + write(value) if field.is_nullable else write(value))
            elif field.is_nullable:
                parts.append(NULL)
            else:
                raise UnusableInputError("may not be null", subject=f"{self.record.name}.{field.name}")
        return b"".join(parts)

    def _plan(self, pattern: tuple[bool, ...]) -> Plan:
        """Compile the expression for rows whose nulls lie like this."""
        names: dict[str, Any] = {}
        terms: list[str] = []
        run: list[tuple[str, str]] = []

        def flush() -> None:
            if run:
                names[f"pack{len(terms)}"] = struct.Struct("<" + "".join(code for code, _ in run)).pack
                terms.append(f"pack{len(terms)}({', '.join(cell for _, cell in run)})")
                run.clear()

        for k, (field, is_null) in enumerate(zip(self.record.fields, pattern, strict=True)):
            if field.is_nullable and not run and (is_null or field.kind not in CODES):
                terms.append(repr(NULL if is_null else VALUE))
            elif field.is_nullable:
                run.append(("B", str((NULL if is_null else VALUE)[0])))
            if is_null:
                continue
            if field.kind in CODES:
                run.append((CODES[field.kind], f"v[{k}]"))
            else:
                flush()
                names[f"write{k}"] = self._writers[k]
                terms.append(f"write{k}(v[{k}])")
        flush()
        source = f"lambda v: b''.join(({''.join(term + ', ' for term in terms)}))"
        plan: Plan = eval(source, names)  # noqa: S307 - the text is made above, of numbers and our own names
        return plan

    def _explain(self, row: Mapping[str, Any], error: Exception) -> UnusableInputError:
        """Find the field that cannot be written."""
        for field, write in zip(self.record.fields, self._writers, strict=True):
            subject = f"{self.record.name}.{field.name}"
            if field.name not in row:
                return UnusableInputError("no such field in the row", subject=subject)
            value = row[field.name]
            if value is None:
                continue
            try:
                write(value)
            except UnusableInputError as inner:
                return inner
            except (TypeError, ValueError, OverflowError, AttributeError, struct.error) as reason:
                return UnusableInputError(f"{value!r:.60} is no {field.kind}: {reason}", subject=subject)
        return UnusableInputError(f"cannot be written: {error}", subject=self.record.name)


def field_writer(field: PacketField) -> Callable[[Any], bytes]:
    """Return what writes a value of a field that is not null, without its union's branch.

    It raises whatever Python does of a value that does not fit.
    """
    if field.record is not None:
        inner = RecordWriter(field.record)
        return _array_writer(inner) if field.is_array else inner.write
    if field.kind in LIMITS:
        return _integer_writer(LIMITS[field.kind])
    if field.kind in CODES:
        return struct.Struct("<" + CODES[field.kind]).pack
    return _write_text if field.kind == "string" else encode_bytes


def _array_writer(inner: RecordWriter) -> Callable[[Any], bytes]:
    def write_array(rows: Sequence[Mapping[str, Any]]) -> bytes:
        if not rows:
            return encode_long(0)
        if isinstance(rows, EncodedRows) and rows.record == inner.record:
            return b"".join((encode_long(len(rows)), rows.encoded(), b"\x00"))
        return b"".join([encode_long(len(rows)), *map(inner.write, rows), b"\x00"])

    return write_array


@lru_cache(maxsize=4)
def _integer_writer(limit: int) -> Callable[[Any], bytes]:
    # Most integers of a packet (field, night, product, version) come again and again.
    @lru_cache(maxsize=1 << 14, typed=True)
    def write_integer(value: int) -> bytes:
        if not -limit <= value < limit:
            raise OverflowError("too large")
        return encode_long(value)

    return write_integer


@lru_cache(maxsize=1 << 14)
def _write_text(value: str) -> bytes:
    return encode_bytes(value.encode())
