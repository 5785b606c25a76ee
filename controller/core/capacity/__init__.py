"""How much load there is, and how much of it each pool may carry. Load and limits are in units per second.

In: what sources state of limits, what clients report of demand, of 429s and of rate-limit headers, and what
is remembered of each pool. Out: ``Demand`` by route, and a limit for every pool and quota group (``Caps``),
before headroom and ramp.

1. ``demand.py``: the demand of each route is the mean that clients reported over the last whole seconds, what
   was shed included; until they report, what the policy expects. A lie adds no more than a third, and the
   load of clients that fell silent is counted on.
2. ``stated.py``: the limits that sources state, of several the tightest. A statement holds until its expiry.
   Then it goes on to bound what the pool carries, because silence moves nothing, and nothing is moved onto
   the pool until somebody states its capacity anew. Where no registered source could state it, the policy's
   own figure stands.
3. ``remember.py``: what is remembered of a pool from one decision to the next, because it can't be seen at
   every moment: where it throttled, or said that little is left, how large its requests are, which part of
   its limit is new, and what clients are served there against a statement that it can give next to nothing.
4. ``usable.py``: the tightest of all these. 429 speaks about capacity: what a pool served while it answered
   429 is its limit, which grows back step by step. So is what it served while the rate-limit headers of
   nearly all its load said that little is left: they come before the first 429. New capacity is a promise
   that nobody has tried, so it comes into use by the steps of a ramp, each only while the pool is healthy.

The headroom and the ramp after an outage are applied later, in moves/eligible.py. Demand and the limits that
429s show are measured only on seconds whose reports have arrived (evidence/reported_seconds.py).

Tested in tests/unit/controller/core/capacity and in the scenarios throttled, near_rate_limit, lump,
several_limits, quota_group, quota_groups_nested, stale_capacity and planned_limit of tests/scenarios.
"""
