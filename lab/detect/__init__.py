"""What probes find without clients: each fault of the stand-ins, who finds it, and after how many seconds.

In: the cases (``cases``), each with a fault and pools of its own. Out: one ``Detection`` for each case, and
the table of docs/probing.md (``python -m lab.detect --docs``, ``table``).

``world`` builds an installation on a real Kafka and Valkey: stand-ins, a controller, and two probers at two
vantage points, at the default interval and budget. Nobody else sends requests. All faults are switched on
in the same few seconds, each on other pools, so that a run takes a minute and not one for each fault. Regions
that faults share have a pool without a fault as well, so that none looks as if it were cut off.

A fault is found when the planner's memory, as it is published, no longer calls the pool healthy. Faults that
nobody can find without clients are cases as well, so that the table says so. Tested in
tests/unit/lab/detect and tests/integration/test_detection.py; ``script/bench detect`` measures it.
"""
