"""What operators have ordered and what sources claim: which pools it speaks of, by whose word and how long.

In: the commands in force (controller/commands has checked them) and rows of statements. Out: ``Orders`` and
``Claims``, both by pool index.

- An operator outranks the planner, always with a name, a reason and an expiry. Where several orders of a kind
  speak of a pool, the narrowest scope counts, then the one that was given last.
- A status page only makes a pool ill by its word, and that only degrades it (evidence/finding.py). Announced
  maintenance empties a pool, and room is made for it before it begins.
- The holder of the first refusal may decline to give burst on some pools.
- Guards are overridden by name, for as small a scope as the guard allows; law and contracts never are
  (``overridable.py``).

An order changes what the rules are asked, never the rules: a drained pool may be used for nothing
(moves/eligible.py), a verdict stands in the place of a finding, a freeze leaves forced moves alone.

Tested in tests/unit/controller/core/orders, tests/property/test_orders_property.py and the scenarios drain,
freeze, verdict_down, override_provider_share, maintenance and first_refusal of tests/scenarios.
"""
