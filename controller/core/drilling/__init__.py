"""Drills: practice evacuations that end by themselves, and at the first sign of harm.

In: the orders in force of the verb ``drill``, the drills that the planner remembers, and what one decision
knows (``signs``). Out: the drills as they are to be remembered (``rule``), and the pools that are emptied for
them now. To everything that follows, such a pool is one that an operator evacuates.

- A drill is an order like an evacuation: signed, with a scope and an expiry. The leader does the rest, in its
  decisions. So a drill ends although the terminal that began it is closed, and goes on under the next leader.
- It begins only in a quiet hour: nothing is shed, no pool fell ill lately, nobody else's order holds traffic
  back, evidence is read and heard, and no other drill runs. Otherwise its outcome is ``not_started``.
- Before anything moves, the planner works the evacuation out on paper (``grounds``). If load would be shed,
  or would find no place elsewhere, the outcome is ``capacity_check_failed``, and nothing moves.
- At the first sign of harm the same decision that sees it gives the pools back, and the outcome is
  ``interrupted``: load is shed, another pool falls ill or answers 429, a larger share of requests fails, the
  evidence goes blind, the loss of one more provider would shed critical load and would not have before, an
  operator intervenes, or the policy changes. What was so before the drill is no sign of harm.
- Else it lasts until its expiry. It has succeeded if the load was away within the objective that the policy
  names for its scope, or at all where the policy names none; else it has failed.

Recovery time runs from the order until 99 % of the reporting clients use a table without the pools, and the
pools serve less than 1 % of the share that they served before. Requests that take long count until they end.
The time of the return runs from the end of the drill until 99 % of the clients use a table that gives the
pools nine tenths of their former share. Both are read once in a decision, so they may be a second too long.

A drill is remembered in the planner's memory, which each publication carries. It is forgotten some minutes
after it is over, once the history has it (``controller.history.drills``). Why the leader runs drills:
docs/decisions/0013-drills-are-orders.md.

Tests: tests/unit/controller/core/drilling, tests/property/test_drills_property.py, the scenarios drill_* of
tests/scenarios, tests/integration/test_drills.py.
"""
