"""Worlds in virtual time: generated installations, everything that can befall them, and the real planner.

What goes in is a seed. ``generate`` makes a ``FuzzWorld`` of it: a policy that uses every feature, demand,
and a list of happenings (outages, throttling, silence, orders, capacity events, lies, take-overs). ``run``
steps ``controller.core.planner`` through it second by second. ``fleet`` is the one model of feedback: clients
send what the table in force says, pools serve, throttle or fail, and clients take what failed elsewhere.
``reports`` brings what clients, probers and the fleet saw to the planner, late and through the real folds.

What comes out are breaches. ``invariants`` looks at every second from outside, as ``TickFacts``, and knows
only the design: which pools the contracts allow (``contracts``), what could have been served at best
(``flow``), and what may move when. These files import nothing of the controller, so that a mistake of the
core can't hide in its own checker (``.importlinter`` checks that). What they take from the planner are the
states it reports.

The rules:

- *One seed, one world, the same bytes*: no clock, no sets in an order of their own, no process-wide
  randomness. ``FuzzRun.digest`` covers every publication (tests/property/test_fuzzed_worlds.py compares two
  processes).
- *An invariant allows what a client or a source can't know yet.* Each names its patience in seconds, which
  begins when the evidence is complete.
- *A world that fails is made smaller*: ``shrink`` drops happenings, workloads and pools as long as the same
  invariant still breaks, and ``scenario`` writes the rest in the language of tests/scenarios where it can.

``tieline fuzz`` runs many worlds; script/test runs a fixed few (tests/property/test_fuzzed_worlds.py).
"""
