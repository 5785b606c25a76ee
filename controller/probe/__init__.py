"""The prober: real requests to every pool from a vantage point of its own, published as health reports.

In comes the policy: which pools there are, where they are, the names of their secrets, and prices. Out goes
one ``Report`` or more for each provider-region and round, by ``tieline.Producer``: how many probes ended in
which class, how long the first token took and each one after it, and how many are still under way and for how
long.

A probe is a chat completion, sent on a connection of its own, so that a name that no longer resolves or a
port that refuses shows at once. How a provider is asked and how its answer is read is the client library's
own code (``tieline.providers``, ``tieline.credentials``): a probe fails exactly where an application's
request would.

- ``targets``: what to probe, out of the policy; pools whose secret is missing are left out.
- ``request``: one probe (tiny or long, a stream or whole), and the class of result that it ended in.
- ``turns``: what to ask of a pool next: each model, each kind, and what failed last.
- ``watch``: the probes of one pool become one observation for each report.
- ``spending``: what probes cost, and that they stay within their budget; the interval grows instead.
- ``pool_probes``: these together, for one pool. ``sending`` sends its probes, with its secret.
- ``region``: rounds of all pools of a region, and their reports. ``prober``: all regions.
- ``run``: the process. It follows the policy in force, or reads a file once.

A probe that this process can't send, or gives up, says nothing about the pool, so it is not counted. A probe
under way is counted from its first moment, so that a pool that accepts and never answers shows before any
time-out.

Which faults probes find, and in how many seconds: docs/probing.md. Tested in tests/unit/controller/probe and
tests/integration/test_probe.py.
"""
