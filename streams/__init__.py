"""Events in, rows out: what arrives on four Kafka topics becomes the live tables in Redis.

The way of one event:

1. ``agents``: a Faust agent gets a record as raw bytes and keeps it unacknowledged. It decides nothing.
2. ``lane``: hands records to the handler in their order, in groups, and acknowledges a group only when the
   handler says that all of it is safe.
3. ``handling``: asks ``contract_check`` for the event. A record that can never be taken goes to the
   dead-letter topic whole, with the reason (``deadletter``). Each has one letter; while the topic takes none
   it waits, and what is behind it comes through (``letters``).
4. ``fold`` (reports, statements, capacity) or ``demand`` (clients' reports, summed by ``sums``): the rule by
   which an event changes the row of its (source, region) or partition, or changes nothing. ``clients`` says
   how far a client's word counts, and what of its load when it falls silent. Pure.
5. ``storing``: writes the row with one compare-and-set into ``tables`` (Redis, ``lua/cas.lua``; ``memory`` is
   the same in a dict). If the change could alter a decision (``material``), readers are woken. Those in this
   process have the row before Redis stores it: its event is safe in Kafka, and Redis is only a projection of
   that. If Redis refuses the row, they are woken again and read what is stored.

What is guaranteed:

- No event that Kafka acknowledged is lost. A record is committed only after its row, or its dead letter, is
  safe. So it is delivered at least once, and a second delivery changes nothing: of one log only a higher
  offset may change a row. Late, repeated and reordered records end in the same rows.
- Redis is a projection. A marker names the run of the tables; without it nobody writes, and ``rebuild`` fills
  them again from Kafka. While Redis or Kafka is away, records wait; none is dropped.
- ``progress`` says how far each partition is consumed, because silence counts against a pool only where
  everything on the topic was read. ``watchdog`` ends a session that stands still, and starts another.

Faust is only the consumer here: it assigns partitions, fetches and commits. An exception in one of its agents
acknowledges the event and loses it; more than one agent at a time loses events in flight; a record that it
can't decode stops the agent without a word. So it gets topics of raw bytes and one agent for each, and its
tables, retries and exactly-once mode are not used. Only ``agents`` imports it: everything else is plain code
that tests and the simulator run without it (``readers``). ``consumer_thread`` adapts the thread of its
consumer, and ``every_record`` reads what the consumer library would stop at.

Tests: tests/unit/streams, tests/property/test_fold_property.py, tests/contract/test_tables.py (one suite for
memory and Redis); tests/integration/test_streams*.py and test_fuzz.py with processes that are killed, servers
that go away and records of every wrong kind.
"""
