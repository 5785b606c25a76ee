"""The decision core: ``step(snapshot, now_ms) -> Ready``. Pure values in, pure values out.

It does no I/O, reads no clock and draws no random numbers (.importlinter and tools/tidy.py hold that), so any
recorded decision can be decided again to the same bytes. Names of pools and routes exist at its rim only;
inside, everything is by index of the compiled policy.

The chapters, in the order in which a decision calls them. Imports point down this list reversed: a chapter
knows only those that a decision has been through before it.

1. ``model`` and ``policy``: the values that all share, and what an installation has and may do.
2. ``evidence``: reports -> what each pool's evidence amounts to -> its state.
3. ``capacity``: how much load there is, and how much each pool may carry.
4. ``orders``: what operators have ordered and what sources claim.
5. ``moves``: what each pool may be used for, and how load moves.
6. ``guards``: the last look, and what modes keep from being done.

``planner.py`` is one decision on one page. ``assessment.py`` goes through 2 to 4, ``pool_states.py`` gives
every pool its next state, ``changes.py`` asks 5 what the table should become, ``publication.py`` makes the
table and has 6 look at it, ``verdicts.py`` says what was done and why.

``lp`` solves the linear programme of the whole table in another process; its plan comes back as part of a
snapshot. ``inspect`` explains, rehearses and meters decisions and changes nothing.

Tested as a whole by the scenarios in tests/scenarios (text: what happens, and the table that is expected), by
properties of random worlds in tests/property, and by decisions that real controllers recorded
(tests/contract/test_recorded_decisions.py).
"""
