"""`tieline sim`: the whole of Tieline on simulated surroundings, in worlds that seeds make.

Controllers, with their ingesting part, their leadership, their planner and solver, producers, and clients
with their way to the table and their requests are the code that runs in production. Only what they touch is
simulated (``lab.simulated``): time, network, Kafka, Redis, the consumer group, the solver's process, pools.

The load is a flow, as in the planner's own simulation (``lab.sim``): each client sends its share of the
demand where the table says that it has in force itself, pools serve what they really can, and what came of it
is reported as real events. Beside the flow each client makes some requests a second, which go through the
whole of the client library to pools of the same nature: so it is seen where they go, how often they are tried
again, and that none is lost for which there is room.

- ``spec``: a world as plain data: policy, demand, what befalls pools, sources and operators, and the faults
  of machines. ``generate`` makes it of a seed, with ``policies`` of every size that use every field, and
  ``troubles`` that befall several things at once.
- ``machine_faults``: processes killed and stopped, also at the very moment between an append and its
  projection; links cut and slow; servers away, emptied, taken back, full, read-only; clocks that are wrong.
  ``record_faults``: records that come twice, late, or broken; topics created anew; what can't be read.
- ``installation``: servers, controllers under a supervisor, client processes.
- ``events``: what clients, probers, the fleet, status pages and operators say, sent to Kafka by producers.
- ``callers``: client processes. ``requests``: what they ask, ``pools``: what answers, ``request_rules``: what
  must hold of it.
- ``world``: one run, second by second. ``rules``: what must hold, beside the invariants of ``lab.sim``.
- ``trace``: which orders of append, projection, claim and crash a run has reached.

A seed gives one run, bit by bit, in every process. A run that fails prints the one command that repeats it.

``shrink`` makes it smaller, and tells the rest as a short story. docs/simulation.md tells how to read it.

Tests: tests/unit/lab/system, tests/property/test_system_worlds.py; tools/sim_mutations.py tries the rules.
"""
