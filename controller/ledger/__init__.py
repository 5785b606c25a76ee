"""The ledger: what each provider was sent, day by day, for commitments that last for years.

In: what the table in force sends to each provider, as the leader finds it every second. Out: totals of each
provider and day (UTC) on the topic ``tieline.usage``, which is compacted and so kept for good.

- A record holds the whole total of its provider and day, and the newest one counts. So a record that is
  written or read twice changes nothing, and a restart goes on where the last record ends.
- Each total says up to when it was metered. A new leader meters on from there: while nobody leads, clients go
  on with the table that they have. A gap of more than ``GAP_MAX_MS`` is not guessed at; ``metered_ms`` says
  how much of the day is known.
- A total of a lower epoch than the one that is known is ignored: a deposed leader that writes late changes
  nothing.
- Totals are written once a minute. So a crash loses nothing but the precision of that minute, as the next
  leader meters it at the load that it finds.

`tieline spend` adds the days of a commitment's period. The planner is told which commitments are used up
(``Snapshot.used_up``): from then on a provider's burst is no longer free. Tests:
tests/unit/controller/ledger, tests/integration/test_replay.py.
"""
