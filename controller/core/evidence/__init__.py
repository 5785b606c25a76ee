"""From rows of reports to the state of each pool: what is known, what it amounts to, and what follows.

In: the rows that streams/ keeps of probers' reports and of clients' demand, and how far each partition was
read. Out: a ``Finding`` for every pool that anything is known of, and from it the pool's next state.

1. ``heard_sources.py``: which sources are heard, and whether a silent one is to be missed. Evidence has an
   instant. It is fresh for ``thresholds.stale_after_ms`` of its source's interval, and it does not age while
   its partition is not read to the end: a controller that lags blames itself and not the pools. What would be
   stale if it aged changes no state either (``UNREAD_MS``): after an outage of Kafka it is as old as that.
2. ``client_sums.py`` with ``reporter_cap.py``: clients' outcomes at a pool, added up over the shortest time
   that says something, no client counting for more than its cap, and newcomers only where nobody else is
   heard.
   ``telling_seconds.py``: which seconds count for each pool, read again only where one is new.
3. ``gather.py``: both together, as one ``Evidence`` a pool.
4. ``finding.py`` and ``judge.py`` with ``siblings.py`` and ``baseline.py``: what the evidence amounts to.
   Only server errors, time-outs, failed connections and broken streams speak about health. 429 speaks about
   capacity, 401, 403 and 404 about the configuration, other 4xx about the caller: where they prevail a pool
   keeps its state. What is found for everybody needs a quorum of reporters.
5. ``health.py``: (state, kind of finding) -> what happens, as one table. Nothing else changes a state.

The rule above all: **silence moves nothing**. A pool that nobody speaks of keeps what it carries and gains
nothing.

Tested in tests/unit/controller/core/evidence, in the scenarios of tests/scenarios and, for every sequence of
findings, in tests/property/test_health_property.py.
"""
