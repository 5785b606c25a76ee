"""Operators' orders: which are in force, read off the command log; and which policy is.

In: the records of ``tieline.commands``, each one order with its actor, reason and, unless it takes another
one back, its expiry. Out: the orders in force at an instant (``CommandLog.in_force``), which the planner
reads as part of its snapshot. The rules, all applied by the pure fold in ``log``:

- The log says when an order was given: its append time, never its sender's clock. The expiry lies at most 30
  days after that.
- An order ends at its expiry, or when its counterpart (``tieline.events.TAKES_BACK``) names exactly the same
  scope and guard. A verdict also ends when another verdict for its scope follows.
- An id counts once, so that a record that is appended twice changes nothing.
- An order that breaks a rule is skipped, and the controllers log why. An override may name only a guard that
  can be overridden, and only for a scope which that guard knows (``core.orders.overridable``).
- Until there are keys to check signatures with, orders are taken only in the unsigned development mode.

Orders lie in Kafka and not in the leader's memory: the next leader reads the same log and has the same orders
with the same ends. Each publication also holds the orders in force, and readers begin there (``in_force``).
So rubbish on the log delays nobody, and an order outlives the record that gave it. A publication names the
offset before which every order is taken into account
(``commands_next_offset``); that is what `tieline drain` and the other commands wait for. What an order does
to a decision is told in ``core.orders``.

Changes of the policy lie on the same log. They wait in the fold until the leader takes them in, by the rules
in ``policies``; its publication carries the policy in force, its number, and the answer to each change.

Tests: tests/unit/controller/commands, tests/property/test_orders_property.py, test_policies_property.py,
tests/integration/test_orders.py.
"""
