"""Operators' orders: which are in force, read off the command log; and which policy is.

In: the records of ``tieline.commands``, each one order with its actor, reason and, unless it takes another
one back, its expiry. Out: the orders in force at an instant (``CommandLog.in_force``), which the planner
reads as part of its snapshot. The rules, all applied by the pure fold in ``log``:

- The log says when an order was given: its append time, never its sender's clock. The expiry lies at most 30
  days after that.
- An order ends at its expiry, or when its counterpart (``tieline.events.TAKES_BACK``) names exactly the same
  scope, guard and workload. A verdict or mode also ends when another for its scope follows, a failover when
  another of its workload does.
- With operators in the policy an order counts only if its actor is one of them, is allowed to give it, and
  signed it for this installation (``authority``; the bytes are in ``tieline.order_signing``). Without
  operators orders count only in the unsigned development mode, which every output names.
- An id counts once. A copy of an order that is appended later than a minute after the signature is too old to
  count, so ids are remembered for two minutes, in the answers.
- An order that touches an approval rule of the policy is pending until enough operators have signed it, for
  fifteen minutes at most. It holds from the last signature, if everybody who signed may still give it.
- An order that breaks a rule changes nothing. The leader's next publication answers it by its id with the
  reason, and the controllers log it. Answers to people who may give orders and to others are kept apart, and
  others are answered twice a second at most: rubbish pushes out nobody's answer and delays no decision. An
  override may name only a guard that can be overridden, and only for a scope which that guard knows
  (``core.orders.overridable``).
- An order that was accepted stays until it ends or is taken back, whoever leaves the policy meanwhile
  (docs/decisions/0011-signed-orders.md).

Orders lie in Kafka and not in the leader's memory: the next leader reads the same log and has the same orders
with the same ends. Each publication also holds the orders in force, and readers begin there (``in_force``).
So nobody reads old rubbish twice, and an order outlives the record that gave it. A publication names the
offset before which every order is taken into account
(``commands_next_offset``); that is what `tieline drain` and the other commands wait for. What an order does
to a decision is told in ``core.orders``.

Changes of the policy lie on the same log, and are orders too: whoever gives one needs the right ``policy:*``.
They wait in the fold until the leader takes them in, by the rules in ``policies``; its publication carries
the policy in force, its number, and the answer to each change. Who may give an order is asked of the policy
that the changes before it in the log lead to, so every reader answers alike.

Tests: tests/unit/controller/commands, tests/property/test_orders_property.py, test_policies_property.py,
tests/integration/test_orders.py, test_signed_orders.py.
"""
