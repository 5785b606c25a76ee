"""History: what happened, by whom, why and what it moved, so that an operator can ask afterwards.

In: what the leader decides, step by step (``decided``), and what it finds true at each step (``conditions``):
orders in force, alarms, workloads that are shed, moves that are held back, orders that end soon. Out: records
on the topic ``tieline.history``, each with new entries and with all conditions that stand after it
(``entries``). `tieline history` and the page read them between two instants (``reader``); `tieline notify`
follows them.

- An entry is either about an instant (a decision, a refusal, a take-over) or about a condition that begins or
  ends. Both entries of a condition have the same key.
- Conditions are compared by key with those of the record before, so an alarm is written when it begins and
  when it ends, and not at each step. A new leader compares with the last record of the log. So a take-over
  repeats nothing, and what ended meanwhile is written as ended.
- Sentences are written when the thing happens, by the code that decided. A later version reads them as they
  are, also if it has other words by then.
- Only the leader writes. A record of an older epoch that arrives late still tells what its leader did, but
  the conditions of the newest epoch count.
- Writing never delays a decision: entries wait in a bounded queue and are sent behind the publication
  (``log``). What does not fit is counted, and the count becomes an entry.

The topic is one of its own, because the records of ``tieline.decisions`` are megabytes where these are
kilobytes, and because an older `tieline replay` would report each of them as a gap. See
docs/decisions/0010-history-is-a-topic-of-its-own.md.

Tests: tests/unit/controller/history, tests/integration/test_history.py.
"""
