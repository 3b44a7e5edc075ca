"""Delivery where no Java is: refusals, and librdkafka's own pretended broker."""

from itertools import islice

import pytest
from broker_builders import make_messages
from confluent_kafka import Producer
from kafka_broker import free_port

from zsds_tasks.broker import BrokerConfig, Outbox, deliver, receive, topic_name
from zsds_tasks.broker.connection import client_config
from zsds_tasks.broker.topics import TopicReader
from zsds_tasks.errors import ConfigurationError, TransientError
from zsds_tasks.settings import Settings

CONFIG = BrokerConfig(creates_topics=False, settle_s=0.0, connect_s=5.0, linger_ms=1)
TOPIC = topic_name("20251012", 1)


@pytest.fixture
def mock_broker():
    """A broker inside this process; other clients reach it through its port."""
    owner = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1})
    broker = next(iter(owner.list_topics(TOPIC, timeout=5).brokers.values()))  # this also makes the topic
    yield Settings(kafka_bootstrap_servers=f"{broker.host}:{broker.port}")
    del owner


def test_what_waits_is_sent_once_and_received_as_it_was(mock_broker, tmp_path):
    outbox, messages, told = Outbox(tmp_path), make_messages(30), []
    outbox.put(TOPIC, "a", messages)
    assert deliver(outbox, mock_broker, CONFIG, told.append).sent == {TOPIC: 30}
    assert sum(told) == 30
    assert deliver(outbox, mock_broker, CONFIG).sent == {}
    with TopicReader(TOPIC, mock_broker, CONFIG) as reader:
        assert sum(reader.ends().values()) == 30
        assert reader.candids_since({}) == {message.candid for message in messages}
    received = list(islice(receive([TOPIC], mock_broker, until_idle_s=20.0), 30))
    received.sort(key=lambda one: one.candid)
    assert [(m.candid, m.key, m.payload) for m in received] == [
        (m.candid, m.key, m.payload) for m in messages
    ]


def test_what_a_broken_delivery_had_brought_is_found_and_not_sent_again(mock_broker, tmp_path):
    outbox, messages = Outbox(tmp_path), make_messages(30)
    outbox.put(TOPIC, "a", messages)
    deliver(outbox, mock_broker, CONFIG)
    # As if the process had died after the broker took all, and before most was noted.
    outbox.begin_attempt(TOPIC, dict.fromkeys(range(4), 0))
    ledger = tmp_path / TOPIC / "sent.candids"
    ledger.write_bytes(ledger.read_bytes()[:100])
    outbox.put(TOPIC, "a", messages)
    delivery = deliver(outbox, mock_broker, CONFIG)
    assert (delivery.found, delivery.sent) == ({TOPIC: 25}, {TOPIC: 0})
    with TopicReader(TOPIC, mock_broker, CONFIG) as reader:
        assert sum(reader.ends().values()) == 30
    assert outbox.count() == {}


def test_without_a_broker_alerts_wait_and_the_error_says_where_it_looked(tmp_path):
    outbox, address = Outbox(tmp_path), f"127.0.0.1:{free_port()}"
    outbox.put(TOPIC, "a", make_messages(5))
    settings = Settings(kafka_bootstrap_servers=address)
    with pytest.raises(TransientError, match=rf"Kafka at {address}: .*safe in the outbox"):
        deliver(outbox, settings, CONFIG.model_copy(update={"connect_s": 0.5}))
    assert outbox.count() == {TOPIC: 5}
    with pytest.raises(TransientError, match=address):
        list(receive([TOPIC], settings, until_idle_s=0.5))


def test_without_a_configured_broker_a_human_is_asked(tmp_path):
    with pytest.raises(ConfigurationError, match=r"ZSDS_KAFKA_BOOTSTRAP_SERVERS.*name host:port"):
        deliver(Outbox(tmp_path), Settings(), CONFIG)


def test_a_secret_is_asked_for_and_not_shown(monkeypatch):
    monkeypatch.setenv("ZSDS_KAFKA_BOOTSTRAP_SERVERS", "k:9")
    monkeypatch.setenv("ZSDS_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("ZSDS_KAFKA_SASL_USERNAME", "zsds")
    with pytest.raises(ConfigurationError, match="ZSDS_KAFKA_SASL_PASSWORD"):
        client_config(Settings())
    monkeypatch.setenv("ZSDS_KAFKA_SASL_PASSWORD", "s3cret")
    assert client_config(Settings())["sasl.password"] == "s3cret"
    assert "s3cret" not in repr(Settings())


def test_what_the_library_does_not_take_is_named(tmp_path):
    outbox = Outbox(tmp_path)
    outbox.put(TOPIC, "a", make_messages(1))
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:1", kafka_ca_file=tmp_path / "absent.pem",
                        kafka_security_protocol="SSL")  # fmt: skip
    with pytest.raises(ConfigurationError, match=r"127\.0\.0\.1:1.*ssl.ca.location.*ZSDS_KAFKA"):
        deliver(outbox, settings, CONFIG.model_copy(update={"connect_s": 0.5}))
