"""Reading and writing Kafka: ordered logs, the ends of the evidence topics, and the topics themselves.

The controller's own topics (routes, leader, commands, decisions) are ordered logs: one partition each, so
that an offset is a place in one order that every reader sees alike. Two properties of Kafka carry the rest:

- An offset is given once, by the broker, at the append. Two controllers that append at the same moment get
  two offsets, and everybody agrees which is lower. No clock and no other server arbitrates.
- Reading a log again gives the same records in the same order, but for those that retention or compaction
  removed. Each log's rule (``leading.log``, ``routes.rule``, ``commands.log``) says what their absence means.

``ordered_log`` hands records to a pure fold, one by one: the fold holds the meaning, this wing only the
connection. A producer here is idempotent and waits for all replicas in sync; whoever can't tell whether a
record was appended must assume that it was, and that it may still appear later.

``offsets`` tells a new leader how far the evidence reached when it took over. ``topics`` creates missing
topics and refuses existing ones whose settings would break a promise, naming the setting and the command to
change it.

``packing`` compresses a body that is too large for its topic as it is.

Tests: tests/unit/controller/kafka, tests/integration/test_leader.py,
tests/integration/test_agent.py.
"""
