"""Faults of every part of a running Tieline, one after the other, under load, and a checker of what happened.

What comes in: the names of faults. What goes out: for each fault the proof that it was in force, what was
promised, what was measured, and a verdict; exit status 0 only if every promise was kept.

A run goes through these files::

    links      TCP proxies between the parts: they can be cut, held still, slowed down
    servers    Kafka with one listener for each part behind its own link, Valkey with a saved copy, clock shim
    world      starts everything: stack, two controllers, prober, stand-ins for providers, calling processes;
               the faults of one broker have a world of their own with three
    recorder   follows the routes log, Redis, callers' notes and stand-ins' logs, past all links
    fault      what a fault is, and the scene on which it does its work, proves it and measures
    *_faults   the faults: of processes and at chosen moments, of Redis, the network, Kafka, events, clocks
               and resources, and of one broker of three
    checker    PURE: what must hold of everything that was recorded, whatever the fault
    run        calm, strike, recovery, check; then the next fault
    report     the table for a reader, and for docs/chaos.md

- *Each fault proves that it was in force*, by what can be seen from outside: the state of a process in /proc,
  bytes that a link refused, an answer of Redis. A fault without a proof counts as failed.
- *The checker reads what was recorded.* What clients applied and what became of each request comes from their
  notes and from the logs of the stand-ins, as in ``lab.demo``, and what was published comes from Kafka.
- *Some promises hold under every fault*: no generation goes back, no table is empty or unlawful, what a
  client applies counts, a take-over changes nothing, and at the end Redis holds the newest publication that
  counts. The rules on tables are those of ``lab.sim.invariants``. Bounds on time are each fault's own.
- *Moments are chosen from outside.* No switch in the product stops it between two steps; a link is held still
  when a step has been seen, and the process is stopped then.

``script/chaos --list`` names the faults. Tests: ``tests/unit/lab/chaos`` for everything that is pure, and
``tests/integration/test_chaos.py`` for a few faults of real processes.
"""
