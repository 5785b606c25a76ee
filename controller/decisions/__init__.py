"""The record of decisions: what each published step was given and what it gave, and deciding it again.

A controller appends one record for each step that it publishes to the topic ``tieline.decisions``. A record
holds the step's inputs (the snapshot and ``now_ms``) and its outcome (``Ready``). As the planner is pure, the
inputs are enough to decide again, and the same code must give the same bytes. So `tieline replay` finds any
rule that changed by accident, an incident can be studied after the fact, and another policy can be tried on
what really happened.

A snapshot may be megabytes, and little of it changes from step to step. So a record holds the whole snapshot
first in each epoch and every 60 s after that, and else only the rows that changed since the record before it,
which it names. Each epoch is one chain of such records. A record whose predecessor is missing can't be
rebuilt: it is reported as a gap, and the next whole snapshot begins a new chain.

Recording is best effort: publication never waits for it, and losing a record loses no decision, as the routes
log is the truth of what was published.

    record   the fields of a record, its bytes, and the way from a record back to its snapshot
    log      sends records in the background
    reader   reads the topic between two instants
    chain    rebuilds records in order, and notes what is missing
    replay   decides again, to the same bytes
    trial    decides by another policy over the same inputs, and compares what both come to

Tested in tests/unit/controller/decisions, with decisions of real runs in
tests/contract/test_recorded_decisions.py, and with a running controller in tests/integration/test_replay.py.
"""
