"""How events reach Kafka, always within a bounded time, a bounded memory and a bounded disk.

In: events from ``tieline.Producer``. Out: records on Kafka, acknowledged by every replica in sync, or an
error that says who has to act. An event takes one of three ways:

- ``direct``: whoever sent it waits for what becomes of it. At most 256 are on their way.
- ``posting``, from the ``outbox``: it waits in memory. When that is full, what is perishable makes way; what
  has expired is dropped, because an old report is worse than none. ``observations`` (PURE) makes one report
  for each provider and region out of many observations.
- ``spooling``, from the ``spool`` on disk (``segments``): statements and capacity hold until their own
  expiry, so they are sent after an outage too, in order, of each key only the newest. A record leaves the
  spool only when its fate is known, so it may be sent twice. Its incarnation and sequence stay the same, and
  ingestion takes a pair once; so each counts exactly once, whatever was killed in between.

``feedback`` keeps a producer from being ignored without knowing it. Before an event is sent it is checked by
the rule of ingestion (``tieline.registration``) and the ``published_policy``; after that, ``own_letters``
notices the dead letters of what this process sent. Nothing is refused because the policy can't be read.

``connection`` is one connection to Kafka, which replaces itself. It exists because of four properties of
aiokafka, which the library underneath has by design:

1. it sends an idempotent record again without end, so that a caller would wait for ever;
2. it waits 40 s for a topic that does not exist;
3. ``stop`` does not return while Kafka is away;
4. after a batch was refused, every later batch is refused too, because its sequence number is used up.

So every send here has a deadline. A connection that missed a deadline or lost a batch is dropped and
replaced. What the dropped connection still had is not written later, when it would be out of date.
Tests: tests/unit/client/sending, tests/integration/test_producer.py, test_producer_feedback.py and
test_http_sink.py.
"""
