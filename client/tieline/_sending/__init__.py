"""How events reach Kafka, always within a bounded time and a bounded memory.

In: events from ``tieline.Producer``. Out: records on Kafka, acknowledged by every replica in sync, or an
error that says who has to act.

Three parts, from the event to the wire:

- ``observations``: PURE. Many observations of pools become one report for each provider and region.
- ``outbox``: what waits to be sent. When it is full, what is perishable makes way; what has expired is
  dropped, because an old report is worse than none.
- ``connection``: one connection to Kafka, which replaces itself.

The last part exists because of four properties of aiokafka, which the library underneath has by design:

1. it sends an idempotent record again without end, so that a caller would wait for ever;
2. it waits 40 s for a topic that does not exist;
3. ``stop`` does not return while Kafka is away;
4. after a batch was refused, every later batch is refused too, because its sequence number is used up.

So every send here has a deadline. A connection that missed a deadline or lost a batch is dropped and
replaced. What the dropped connection still had is not written later, when it would be out of date.
Tests: tests/unit/client/sending, tests/integration/test_producer.py and test_http_sink.py.
"""
