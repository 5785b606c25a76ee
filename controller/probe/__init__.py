"""The prober: tiny real requests to every pool from a vantage point of its own, published as health reports.

In comes the policy: which pools there are, where they are, and the names of their secrets. Out goes one
``Report`` for each provider-region and interval, by ``tieline.Producer``: how many probes ended in which
class, how long the first token took, and how many are still under way and for how long.

A probe is a chat completion of one token (``request``), sent on a connection of its own, so that a name that
no longer resolves or a port that refuses shows at once. How a provider is asked and how its answer is read is
the client library's own code (``tieline.providers``, ``tieline.credentials``): a probe fails exactly where an
application's request would.

- ``targets``: what to probe, out of the policy; pools whose secret is missing are left out.
- ``request``: one probe, and the class of result that it ended in.
- ``watch``: the probes of one pool become one observation for each window.
- ``prober``: probes every pool at an interval, at most two at a time each.

A probe that this process can't send, or gives up, says nothing about the pool, so it is not counted. A probe
under way is counted from its first moment, so that a pool that accepts and never answers shows before any
time-out.

Tested in tests/unit/controller/probe and tests/integration/test_probe.py.
"""
