"""The routes log: whole publications in the order in which they count, and their projection into Redis.

A publication is one record: the whole table, the planner's memory, the policy in force and its version. Each
is complete in itself, so that compaction may drop older ones and any reader can go on from the newest that
counts. Generations are ``lineage:epoch:seq``; within one lineage (epoch, seq) orders them.

Counting rule (``counting_rule``), the same for leader, standby and rebuild: **a record counts only if no
higher epoch lies before it in the log.** Without it a deposed leader whose last record arrives late would be
in force again.

An epoch is the offset of a valid claim on the leader log, and only the identity that made that claim writes
under it. A record under any other epoch, or of another writer, is ignored and logged as an error. To judge a
record its reader first reads the leader log up to the epoch that it names.

Fence: a new leader first appends ``(epoch, 0)``, a record without a table. From its offset on nothing of a
lower epoch counts. The leader reads the log up to the fence's own offset; the highest generation that counts
before it is the newest acknowledged table, and the leader publishes its weights and memory again, unchanged,
as ``(epoch, 1)``. A higher epoch in what it reads ends its leadership.

Acknowledging (``publisher``): a record is taken as published, and projected, only if its offset is exactly
one above the last offset that this leader read or wrote. Otherwise it first reads up to that record, and
stops at a higher epoch or at a gap that it can't read. A send whose outcome is unknown ends the leadership
too.

Projection (``projection``, ``project.lua``): Kafka is the truth and Redis a copy that may be dropped. One
stored script per publication writes slices, manifest and generation together or not at all. Within a lineage
it refuses any (epoch, seq) that is not higher than the stored one, and it refuses another lineage until that
is adopted. A partial projection is taken only on the exact generation it was made from. Publishing never
waits for Redis.

Each weaker rule (no fence, a fence without reading back, the highest generation without the counting rule)
had a counterexample in an exhaustive search: tests/property/test_leading_search.py. Clause by clause:
tests/unit/controller/routes; with real servers: tests/integration/test_agent.py, test_leader.py.
"""
