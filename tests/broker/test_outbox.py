"""The outbox: whole or not there, sent once, whatever is killed between two operations on files."""

import json
import os
import re
import sys
import tarfile
from pathlib import Path

import pytest
from broker_builders import FIRST, make_messages
from hypothesis import given, settings
from hypothesis import strategies as st

from zsds_tasks.broker import Message, Outbox, topic_name, write_archive
from zsds_tasks.errors import TransientError, UnusableInputError

TOPIC = topic_name("20251012", 1)


def candids(messages):
    return [message.candid for message in messages]


def test_what_is_put_waits_until_it_is_marked_and_is_kept_for_the_archive(tmp_path):
    outbox, messages = Outbox(tmp_path / "outbox"), make_messages(7)
    assert outbox.topics() == []
    assert outbox.put(TOPIC, "305514037", reversed(messages)) == 7
    assert list(outbox.pending(TOPIC)) == messages
    assert outbox.count() == {TOPIC: 7}
    outbox.mark_sent(TOPIC, candids(messages[:4]))
    assert list(outbox.pending(TOPIC)) == messages[4:]
    outbox.settle(TOPIC)
    assert outbox.topics() == [TOPIC]
    outbox.mark_sent(TOPIC, candids(messages[4:]))
    outbox.settle(TOPIC)
    assert outbox.topics() == []
    with tarfile.open(tmp_path / "outbox" / TOPIC / "sent" / "305514037.tar") as tar:
        assert tar.getnames() == [f"{m.key}/{m.candid}.avro" for m in messages]


def test_the_same_bundle_again_replaces_it_and_sends_nothing_twice(tmp_path):
    outbox, messages = Outbox(tmp_path), make_messages(6)
    outbox.put(TOPIC, "a", messages[:4])
    first = (tmp_path / TOPIC / "a.tar").read_bytes()
    assert outbox.put(TOPIC, "a", messages[:4]) == 4
    assert (tmp_path / TOPIC / "a.tar").read_bytes() == first
    outbox.mark_sent(TOPIC, candids(messages[:3]))
    outbox.settle(TOPIC)
    assert outbox.put(TOPIC, "a", messages) == 3
    assert candids(outbox.pending(TOPIC)) == candids(messages[3:])


def test_the_archive_of_a_night_has_every_packet_once_and_is_always_the_same_file(tmp_path):
    outbox, messages = Outbox(tmp_path / "outbox"), make_messages(9)
    outbox.put(TOPIC, "a", messages[:4])
    outbox.mark_sent(TOPIC, candids(messages[:4]))
    outbox.settle(TOPIC)
    outbox.put(TOPIC, "a", messages[:5])
    outbox.put(TOPIC, "b", messages[4:])
    for name in ("one.tar.gz", "two.tar.gz"):
        assert write_archive(outbox, TOPIC, tmp_path / name) == 9
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        assert tar.getnames() == [f"{candid}.avro" for candid in candids(messages)]
        assert tar.extractfile(tar.getnames()[7]).read() == messages[7].payload


def test_a_candid_in_two_bundles_is_sent_once(tmp_path):
    outbox, messages = Outbox(tmp_path), make_messages(4)
    outbox.put(TOPIC, "a", messages[:3])
    outbox.put(TOPIC, "b", messages[2:])
    assert candids(outbox.pending(TOPIC)) == candids(messages)


def test_topics_do_not_know_each_other(tmp_path):
    outbox, messages = Outbox(tmp_path), make_messages(3)
    other = topic_name("20251012", 2)
    outbox.put(TOPIC, "a", messages[:1])
    outbox.put(other, "a", messages[1:])
    outbox.mark_sent(TOPIC, candids(messages))
    assert outbox.count() == {other: 2, TOPIC: 0}


def test_a_record_torn_by_a_kill_is_asked_about_again_and_does_not_shift_others(tmp_path):
    outbox, messages = Outbox(tmp_path), make_messages(5)
    outbox.put(TOPIC, "a", messages)
    outbox.mark_sent(TOPIC, candids(messages[:2]))
    ledger = tmp_path / TOPIC / "sent.candids"
    ledger.write_bytes(ledger.read_bytes()[:-7])
    assert candids(outbox.pending(TOPIC)) == candids(messages[1:])
    outbox.mark_sent(TOPIC, [messages[4].candid])
    assert candids(outbox.pending(TOPIC)) == candids(messages[1:4])


def test_two_processes_do_not_deliver_at_once(tmp_path):
    with (
        Outbox(tmp_path).sending(),
        pytest.raises(TransientError, match="another process"),
        Outbox(tmp_path).sending(),
    ):
        pass
    with Outbox(tmp_path).sending():
        pass


@pytest.mark.parametrize("spoil", [lambda _: b"no tar" * 200, lambda data: data[:600]])
def test_a_bundle_that_the_disk_has_spoilt_is_set_aside_and_named_and_others_go_on(tmp_path, spoil, caplog):
    outbox, messages = Outbox(tmp_path), make_messages(6)
    for bundle, part in (("a", messages[:3]), ("b", messages[3:])):
        outbox.put(TOPIC, bundle, part)
    place = tmp_path / TOPIC / "a.tar"
    place.write_bytes(spoil(place.read_bytes()))
    outbox.mark_sent(TOPIC, candids(messages[:1]))
    assert candids(outbox.pending(TOPIC)) == candids(messages[3:])
    assert re.search(r"a\.tar: no bundle of alerts.*run its exposure again", caplog.text)
    assert outbox.spoilt() == [tmp_path / TOPIC / "a.tar.spoilt"]
    outbox.put(TOPIC, "a", messages[:3])
    assert candids(outbox.pending(TOPIC)) == candids(messages[1:])
    outbox.mark_sent(TOPIC, candids(messages))
    outbox.settle(TOPIC)
    assert outbox.topics() == []


def test_settling_sets_a_spoilt_bundle_aside_too(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.put(TOPIC, "a", make_messages(2))
    (tmp_path / TOPIC / "a.tar").write_bytes(b"no tar" * 200)
    outbox.settle(TOPIC)
    assert len(outbox.spoilt()) == 1
    assert not list(tmp_path.glob("*/sent/*"))


def test_a_full_disk_is_an_error_to_wait_out(tmp_path, monkeypatch):
    outbox, messages = Outbox(tmp_path), make_messages(3)
    outbox.put(TOPIC, "a", messages[:1])

    def full(_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(TransientError, match=r"a\.tar: cannot be written: No space.*make room"):
            outbox.put(TOPIC, "a", messages)
    assert list(outbox.pending(TOPIC)) == messages[:1]
    assert not list(tmp_path.glob("*/.*.part"))


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: topic_name("2025-10-12", 1), "YYYYMMDD"),
        (lambda: topic_name("20251012", 10), "programme"),
        (lambda: Message(0, "ZTF18aaaaaaa", b""), "candid"),
        (lambda: Message(FIRST, "../x", b""), "name of an object"),
        (lambda: Outbox(Path()).put("../x", "a", []), "name of a topic"),
        (lambda: Outbox(Path()).put(TOPIC, ".hidden", []), "name of a topic or bundle"),
    ],
)
def test_names_that_could_leave_the_folder_are_refused(make, word):
    with pytest.raises(UnusableInputError, match=word):
        make()


def exposure_and_delivery(folder, messages):
    """One run: put, then send to a "broker" that is a file of one line per packet received."""
    outbox, broker = Outbox(folder / "outbox"), folder / "broker"
    outbox.put(TOPIC, "exposure", messages)
    with outbox.sending():
        if outbox.attempt(TOPIC) is None:
            outbox.begin_attempt(TOPIC, {0: 0})
        else:
            there = json.loads(f"[{','.join(broker.read_text().split())}]") if broker.exists() else []
            outbox.mark_sent(TOPIC, sorted(set(there) - outbox.sent(TOPIC)))
        batch = []
        for message in outbox.pending(TOPIC):
            with broker.open("a") as stream:
                stream.write(f"{message.candid}\n")
            batch.append(message.candid)
            if len(batch) == 2:
                outbox.mark_sent(TOPIC, batch)
                batch = []
        outbox.mark_sent(TOPIC, batch)
        outbox.end_attempt(TOPIC)
        outbox.settle(TOPIC)


def run_until_operation(number, folder, messages):
    """Run in a child that dies, without a word, before its n-th operation on a file; say whether it died."""
    child = os.fork()
    if child == 0:
        left = [number]

        def count(event, _arguments):
            if event in {"open", "os.rename", "os.remove", "os.mkdir", "os.truncate", "fcntl.flock"}:
                left[0] -= 1
                if left[0] == 0:
                    os._exit(9)

        sys.addaudithook(count)
        try:
            exposure_and_delivery(folder, messages)
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, 9}, "the run failed by itself"
    return status == 9


def test_a_kill_before_any_operation_loses_nothing_and_doubles_nothing(tmp_path):
    messages, number = make_messages(5), 1
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        died = run_until_operation(number, folder, messages)
        exposure_and_delivery(folder, messages)
        sent = [int(line) for line in (folder / "broker").read_text().split()]
        assert sent == candids(messages), f"killed before operation {number}"
        outbox = Outbox(folder / "outbox")
        assert outbox.topics() == []
        assert outbox.attempt(TOPIC) is None
        if not died:
            break
        number += 1
    assert number > 20, "the child was killed at many places"


@given(order=st.permutations(range(6)), groups=st.lists(st.integers(1, 6), max_size=5))
@settings(max_examples=20)
def test_marks_in_any_order_and_grouping_leave_what_was_not_marked(tmp_path_factory, order, groups):
    outbox, messages = Outbox(tmp_path_factory.mktemp("o")), make_messages(6)
    outbox.put(TOPIC, "a", messages)
    left = list(order)
    for size in groups:
        outbox.mark_sent(TOPIC, [messages[k].candid for k in left[:size]])
        left = left[size:]
    assert candids(outbox.pending(TOPIC)) == sorted(messages[k].candid for k in left)
