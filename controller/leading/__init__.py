"""Which controller leads, and what one leadership does. Kafka's leader log alone arbitrates.

Any number of controllers run, and at most one may publish. They agree through one topic of one partition, in
which every record has one offset that all readers see alike. A lock in another store would be a second source
of truth that can disagree with the log at the moment of a partition; here the log that orders the claims is
the same service that takes the publications, so whoever can't reach it can't publish either.

The records: a claim names the epoch in force and the offset of that epoch's last heartbeat which its sender
has read; a heartbeat and a resignation name their epoch. The offset of a valid claim is the new epoch.

Claim rule (``claim_rule``), the same for every reader. A claim is valid only if

1. the epoch it names is in force at its place in the log: the last valid claim before it or, if retention
   removed that, the highest epoch that a heartbeat names;
2. no heartbeat of that epoch lies between the offset it names and the claim; and
3. the append times of that heartbeat and of the claim differ by at least 2.5 s, or that epoch resigned.

So the first of two claims on one epoch wins. A claim counts as its epoch's first heartbeat. With no epoch in
force a claim that names none is valid; with one in force it is valid only after 24 h of silence, the
retention of the log, because then its sender read an emptied log. A candidate's identity is new in every
process, and it leads only by the offset that its own send returned. Only the identity that made the claim
sends heartbeats and the resignation of its epoch, and no record may name what lies behind it. Whatever
breaks these rules, by mistake or on purpose, is logged as an error and changes nothing. Somebody who copies a
leader's identity can still speak for it, unless controllers sign (``process.seal``): then a record without a
valid signature changes nothing either, and heartbeats are numbered, so that a copy of one says nothing.

Lease (``leader``): a leader beats twice a second and may publish only while its last *confirmed* heartbeat
was sent less than 2 s ago by its own steady clock. Confirmed means acknowledged, and the log read to its
offset with its own epoch in force there. 2 s is less than the 2.5 s of silence that a claim needs, so a
leader that was paused or cut off stops by itself before another can follow. A standby claims after 2.5 s of
silence by its own steady clock plus a random delay of up to 0.5 s, and only once the log is read to its end.

Take-over (``routes.publisher`` sets the fence, ``agent`` orders the steps): the newest publication that
counts is published again, unchanged, under the new epoch. Decisions begin when the tables hold everything
that was on the topics at the take-over; moves by choice wait for one report window more (``term``).

These rules were searched exhaustively, with every pause, crash and late append, and each weaker version had a
counterexample: tests/property/test_lease_search.py and test_leading_search.py run it on this code. Processes
that are killed, paused and stopped: tests/integration/test_leader.py. Forged records: test_forged_records.py.
"""
