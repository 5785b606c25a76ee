"""Answers to an operator's questions about decisions. Nothing here changes a table or remembers anything.

What comes in is a ``Snapshot``: everything that one decision rests on. What goes out are values (structs of
names, numbers and ``Verdict``s); ``controller/core/model/words.py`` makes sentences of them, and the commands
of ``controller/cli`` print them, as JSON under the same names.

    explain        why each pool and each route has what it has: evidence, state, capacity, rules, weights
    why_no_share   why a pool has no share of a route: the first rule that keeps load from it
    what_if        what the loss of pools, or growth of demand, would leave
    consequences   what an order or another policy would change, and which rules protect from it
    policy_consequences   the same of another policy, and what only a policy can do wrong
    binding        which contract, guard or limit keeps load from a place
    measure        what a table is worth under a demand: served, shed and failed load, money, broken contracts
    n_minus_1      what one loss would leave, in all and in each geography
    spend          how much of each committed spend is used, and what would be left
    alarms         what a person must look at: faults of sources, credentials and clocks

The rule that all of them keep: an answer is derived by deciding again, with the same functions that the
planner calls (``assess``, ``settle``, ``planned``, ``step``). No rule is stated here a second time, so an
answer can't disagree with what the controller does. An answer therefore costs about as much as a few
decisions, and is worked out in the process of the command that asks. Only ``alarms`` is derived at every step
of a controller.

Tested in tests/unit/controller/core/inspect, and in tests/property/test_whatif_property.py for any policy:
what ``what_if`` foretells is what ``step`` then publishes, and no unit of load is lost on the way.
"""
