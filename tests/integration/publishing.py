"""A publication on the routes log without a controller: what producers read the policy in force from."""

from aiokafka import AIOKafkaProducer

from controller.core.policy.policy import Source, encode_policy
from controller.routes.record import RoutesRecord, encode_record
from tests.integration.ingesting import now_ms
from tests.unit.controller.core.made import policy, pool
from tieline.table import Generation
from tieline.topics import Topics


async def publish(bootstrap: str, topics: Topics, seq: int, *sources: Source) -> None:
    """A publication with a policy that has one pool of azure/r0 and these sources; then a fence.

    Every replica has both when this returns, as with a controller's: until then readers do not get them.
    """
    whole = policy((pool("azure/r0"),), sources=sources)
    record = RoutesRecord(Generation("test", 1, seq), now_ms(), policy=encode_policy(whole))
    fence = RoutesRecord(Generation("test", 2, 0), now_ms())
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        for publication in (record, fence):
            body = encode_record(publication)
            await producer.send_and_wait(topics.routes.name, body, key=publication.key())
