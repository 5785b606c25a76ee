"""What this process saw of the pools, and how the rest of Tieline learns it.

In: each request's load (``DemandWindow.offered`` and ``shed``) and the outcome of each attempt
(``DemandWindow.observe``), from whichever thread the request runs in. Out: one ``Demand`` event per interval
of the table (1 s), from which the planner learns demand and faults; and, for the application itself,
sums that only grow.

The rules:

- A request never waits for a report. Counting costs it a few dictionary look-ups under a lock; a report is
  handed to a *sink* by a task of its own (``reporter``).
- Memory is bounded: a window keeps at most 512 latencies per pool (``window.Samples``), a sink a bounded
  number of reports. What can't be sent while it is worth anything is dropped and counted
  (``Status.reports_dropped``).
- A report is sent at once, and not only at the next interval, when a pool was ejected (at most once a second
  for each pool) or an urgent generation came into force: the planner waits for these.
- After ``os.fork`` the parent reports what was counted before; the child begins with empty windows.

The sink is a ``tieline.Producer`` to Kafka, or ``http_sink`` to a controller's HTTP endpoint, or anything
with ``post(event)``. ``totals`` feeds ``tieline.metrics``.
Tests: tests/unit/client/reports, tests/integration/test_http_sink.py and test_client_outages.py.
"""
