"""Alert packets to the world: an outbox on disk, topics of Kafka, and delivery that is confirmed.

`Outbox` holds packets until a broker has them, `deliver` brings them there, `receive` reads a stream.
Nothing else in the package knows Kafka, and this floor knows nothing of what is in a packet.
"""

from zsds_tasks.broker.archive import write_archive
from zsds_tasks.broker.connection import BrokerConfig
from zsds_tasks.broker.deliver import Delivery, deliver
from zsds_tasks.broker.messages import Message, topic_name
from zsds_tasks.broker.outbox import Outbox
from zsds_tasks.broker.receive import Received, receive

__all__ = [
    "BrokerConfig",
    "Delivery",
    "Message",
    "Outbox",
    "Received",
    "deliver",
    "receive",
    "topic_name",
    "write_archive",
]
