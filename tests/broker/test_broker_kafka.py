"""Against a real Apache Kafka: every packet once by candid, whatever is killed and when."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict

import pytest
import yaml
from broker_builders import make_messages
from confluent_kafka.admin import AdminClient
from kafka_broker import VERSION, KafkaBroker, why_not

from zsds_tasks.broker import BrokerConfig, Outbox, deliver, receive, topic_name
from zsds_tasks.broker.topics import TopicReader
from zsds_tasks.settings import REPOSITORY, Settings

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "all there")
CONFIG = BrokerConfig(partitions=4, mark_every=20, settle_s=0.2, linger_ms=1, batch_kb=64, queue_messages=100)

SENDER = """
import sys
from pathlib import Path
from zsds_tasks.broker import BrokerConfig, Outbox, deliver
from zsds_tasks.settings import Settings
config = BrokerConfig.model_validate_json(sys.argv[3])
deliver(Outbox(Path(sys.argv[1])), Settings(kafka_bootstrap_servers=sys.argv[2]), config,
        lambda n: print(n, flush=True))
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = KafkaBroker(tmp_path_factory.mktemp("kafka")).start()
    yield broker
    broker.stop()


@pytest.fixture
def settings(broker):
    return Settings(kafka_bootstrap_servers=broker.servers)


def take(topics, settings, count, group=""):
    """Read until so many packets with different candids have come."""
    received, candids = [], set()
    for one in receive(topics, settings, group=group, until_idle_s=60.0):
        received.append(one)
        candids.add(one.candid)
        if len(candids) == count:
            break
    return received


def assert_once(topic, settings, messages):
    """Hold a whole topic against what it should have; return it."""
    received = take([topic], settings, len(messages))
    assert Counter(one.candid for one in received) == Counter(message.candid for message in messages)
    with TopicReader(topic, settings, CONFIG) as reader:
        assert sum(reader.ends().values()) == len(messages), "nothing comes after them"
    return received


def test_the_broker_of_docker_compose_takes_and_gives_packets(tmp_path):
    compose = yaml.safe_load((REPOSITORY / "docker-compose.yaml").read_text())["services"]["kafka"]
    assert compose["image"] == f"apache/kafka:{VERSION}"
    # As the image does: KAFKA_LOG_DIRS is log.dirs.
    deployed = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): value
        for name, value in compose["environment"].items()
    }
    broker = KafkaBroker(tmp_path, deployed).start()
    try:
        settings = Settings(kafka_bootstrap_servers=broker.servers)
        topic, messages = topic_name("20251019", 1), make_messages(30, objects=5)
        outbox = Outbox(tmp_path / "outbox")
        outbox.put(topic, "a", messages)
        assert deliver(outbox, settings, CONFIG).sent == {topic: 30}
        received = take([topic], settings, 30, group="a broker's own")
        assert Counter(one.candid for one in received) == Counter(message.candid for message in messages)
    finally:
        broker.stop()


def test_packets_arrive_with_their_keys_in_order_and_the_topic_is_as_configured(broker, settings, tmp_path):
    topic, messages = topic_name("20251012", 1), make_messages(300, objects=20)
    outbox = Outbox(tmp_path)
    outbox.put(topic, "a", messages[:120])
    outbox.put(topic, "b", messages[120:])
    assert deliver(outbox, settings, CONFIG).sent == {topic: 300}
    assert deliver(outbox, settings, CONFIG).sent == {}
    received = assert_once(topic, settings, messages)
    assert len(take(["^ztf_20251012_.*"], settings, 300)) == 300
    wanted = {message.candid: message for message in messages}
    partitions, order = defaultdict(set), defaultdict(list)
    for one in received:
        assert (one.topic, one.key, one.payload) == (
            topic, wanted[one.candid].key, wanted[one.candid].payload,
        )  # fmt: skip
        partitions[one.key].add(one.partition)
        order[one.key].append(one.candid)
    assert all(len(found) == 1 for found in partitions.values()), "an object's packets keep to one partition"
    assert len(set.union(*partitions.values())) == CONFIG.partitions
    assert all(candids == sorted(candids) for candids in order.values())
    described = AdminClient({"bootstrap.servers": broker.servers}).list_topics(topic, timeout=5).topics[topic]
    assert len(described.partitions) == CONFIG.partitions


def test_a_broker_killed_in_mid_send_and_started_again_gets_each_packet_once(broker, settings, tmp_path):
    topic, messages = topic_name("20251013", 1), make_messages(3000, size=20_000)
    outbox = Outbox(tmp_path)
    outbox.put(topic, "night", messages)
    confirmed, received, at_kill = [], [], []
    consumer = threading.Thread(
        target=lambda: received.extend(take(["^ztf_20251013_.*"], settings, 3000, group="downstream"))
    )
    consumer.start()

    def restart():
        deadline = time.monotonic() + 60
        while sum(confirmed) < 500 and time.monotonic() < deadline:
            time.sleep(0.002)
        broker.kill()
        at_kill.append(sum(confirmed))
        time.sleep(0.5)
        broker.start()

    killer = threading.Thread(target=restart)
    killer.start()
    delivery = deliver(outbox, settings, CONFIG, confirmed.append)
    killer.join()
    assert delivery.sent == {topic: 3000}
    assert sum(confirmed) == 3000
    assert 500 <= at_kill[0] < 3000, "it was killed in mid-send"
    consumer.join()
    assert Counter(one.candid for one in received) == Counter(message.candid for message in messages)
    assert_once(topic, settings, messages)
    assert outbox.count() == {}


def test_a_sender_killed_in_mid_send_leaves_no_gap_and_no_duplicate(settings, tmp_path):
    topic, messages = topic_name("20251014", 2), make_messages(1500, size=20_000)
    outbox = Outbox(tmp_path)
    outbox.put(topic, "night", messages)
    arguments = [str(tmp_path), settings.kafka_bootstrap_servers, CONFIG.model_dump_json()]
    command = [sys.executable, "-c", SENDER, *arguments]
    killed = 0
    for _ in range(3):
        sender = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY, env=dict(os.environ))
        line = sender.stdout.readline()
        sender.send_signal(signal.SIGKILL)
        killed += sender.wait() == -signal.SIGKILL
        sender.stdout.close()
        assert line, "the sender confirmed something before it was killed"
    assert killed == 3
    assert outbox.attempt(topic) is not None
    delivery = deliver(outbox, settings, CONFIG)
    assert delivery.found.get(topic, 0) + delivery.sent[topic] < 1500
    assert_once(topic, settings, messages)
    assert outbox.attempt(topic) is None


def test_a_group_goes_on_where_it_stopped(settings, tmp_path):
    topic, messages = topic_name("20251015", 1), make_messages(60)
    outbox = Outbox(tmp_path)
    outbox.put(topic, "a", messages[:40])
    deliver(outbox, settings, CONFIG)
    first = take([topic], settings, 25, group="stops")
    outbox.put(topic, "b", messages[40:])
    deliver(outbox, settings, CONFIG)
    # The packet in hand when it stopped was not done with: it comes again, and only that one.
    rest = take([topic], settings, 36, group="stops")
    assert {one.candid for one in first[:-1] + rest} == {message.candid for message in messages}
    assert len(first[:-1] + rest) == len(messages)
