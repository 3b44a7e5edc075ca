"""The published schema is ZTF's, field for field, and says of each field what the packet's types need."""

import io
import json
import tarfile

import fastavro
import pytest
from fastavro.schema import to_parsing_canonical_form

from zsds_tasks.errors import DeclarationError, UnusableInputError
from zsds_tasks.products.packets import VERSION, load_packet_schema

SCHEMA = load_packet_schema()
RECORDS = ("candidate", "prv_candidate", "fp_hist", "cutout")
FINGERPRINT = "bc101b0befbc8242"


def without_sentences(tree):
    """Drop sentences and the loose attribute `version`, write names in full: what is left binds readers."""
    if isinstance(tree, list):
        return [without_sentences(branch) for branch in tree]
    if not isinstance(tree, dict):
        return tree
    rest = {key: without_sentences(value) for key, value in tree.items() if key not in {"doc", "version"}}
    if rest.get("type") == "record":
        space = "" if "." in tree["name"] else f"{tree['namespace']}."
        rest["name"] = f"{space}{tree['name']}"
        rest.pop("namespace", None)
    return rest


def issued_schemas(folder, versions):
    with tarfile.open(folder / "alerts" / "ztf_packets_dev.tar.xz") as archive:
        for member in archive:
            if member.isfile():
                reader = fastavro.reader(io.BytesIO(archive.extractfile(member).read()))
                if next(reader).get("schemavsn") in versions:
                    yield json.loads(reader.metadata["avro.schema"])


def test_it_is_the_schema_in_issued_packets_of_this_version(real_data):
    ours = json.loads(SCHEMA.text)
    theirs = list(issued_schemas(real_data, {VERSION}))
    assert len(theirs) >= 3
    for schema in theirs:
        assert without_sentences(ours) == without_sentences(schema)
        assert to_parsing_canonical_form(ours) == to_parsing_canonical_form(schema)


def test_a_released_schema_has_not_changed():
    """CRC-64-AVRO of the canonical form; where the real packets are, they confirm what it stands for."""
    form = to_parsing_canonical_form(json.loads(SCHEMA.text))
    assert fastavro.schema.fingerprint(form, "CRC-64-AVRO") == FINGERPRINT


def test_counts_of_the_reference():
    candidate, previous = SCHEMA.record("candidate"), SCHEMA.record("prv_candidate")
    assert (len(candidate.fields), len(SCHEMA.record("fp_hist").fields)) == (103, 29)
    assert len(SCHEMA.alert.fields) == 10
    assert set(previous.names) < set(candidate.names)
    assert previous.required == ("jd", "fid", "pid", "programid", "rbversion")
    assert SCHEMA.record("fp_hist").required == ("fid", "pid", "rfid", "programid", "jd", "ranr", "decnr")


def test_every_field_has_its_sentence():
    for record in (
        SCHEMA.alert,
        *map(SCHEMA.record, RECORDS),
    ):
        for field in record.fields:
            assert field.doc, f"{record.name}.{field.name}"
            assert field.doc.isascii()


def test_a_row_is_completed_and_only_with_what_may_be_missing():
    record = SCHEMA.record("prv_candidate")
    row = record.complete({"jd": 2.0, "fid": 1, "pid": 3, "programid": 1, "rbversion": "t", "mine": 5})
    assert tuple(row) == record.names
    assert row["jd"] == 2.0
    assert row["magpsf"] is None
    with pytest.raises(UnusableInputError, match=r"prv_candidate 3: no value for jd, rbversion"):
        record.complete({"fid": 1, "pid": 3, "programid": 1})


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(DeclarationError, match=rf"versions here: .*{VERSION}"):
        load_packet_schema("9.9")
    with pytest.raises(KeyError, match="candidate, prv_candidate, fp_hist, cutout"):
        SCHEMA.record("candidates")
    with pytest.raises(KeyError, match="no field 'magpfs'"):
        SCHEMA.record("candidate")["magpfs"]
    folder = tmp_path / "schemas" / "avro"
    folder.mkdir(parents=True)
    record = '{"type": "record", "name": "a", "namespace": "z", "fields": [{"name": "x", "type": %s}]}'
    for text, word in (
        ("{", "not JSON"),
        (record % '"flaot"', "flaot"),
        (record % '["int", "null"]', "union"),
    ):
        load_packet_schema.cache_clear()
        (folder / "alert-1.0.avsc").write_text(text)
        with pytest.raises(DeclarationError, match=word):
            load_packet_schema("1.0", tmp_path)
