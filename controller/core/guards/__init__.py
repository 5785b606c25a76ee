"""The last checks before a table leaves, and what is said of moves that are not made.

In: a table as the moves propose it. Out: the same table, with routes held back where a guard bites.

Nothing here is expected to bite, as the rules before keep within the same limits. Each guard stands for one
thing that must never leave, whatever went wrong before it: no empty table and no split that is not whole,
nothing onto a pool without fresh capacity, no provider beyond its largest share, nothing unlawful. A guard
has a name. Some can be overridden by that name, with a reason and an expiry; the others never (orders/
overridable.py). An override that had an effect is said with who gave it.

``withheld.py`` says what would be done if a provider's mode did not forbid it, so that an operator can
approve it or do it.

Tested in tests/unit/controller/core/guards, tests/property/test_planner_property.py and the scenarios
override_fresh_capacity, override_provider_share, mode_observe and mode_recommend of tests/scenarios.
"""
