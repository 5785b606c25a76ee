"""Which pools this one process keeps away from, by what its own requests met there. PURE, monotonic
milliseconds.

In comes how each attempt ended (``tieline.events.ResultClass``). Out goes, for each pool: whether it is
*out*, since when, until when and for which class; or which share of its requests is not sent there. The
planner decides for all processes within seconds; this is what one process does meanwhile, and what goes on
when the planner is gone.

    class                                  says           the pool is out
    -------------------------------------  -------------  ---------------------------------------------
    server_error, timeout, connect, cut    health         after 5 straight failures, or when more than
                                                          half of at least 10 in 10 s failed
    throttled                              capacity       until its Retry-After, at most 300 s, if it
                                                          serves nothing else meanwhile
    auth, not_found (for that model)       configuration  at once
    client_error                           the caller     never

- *Coming back*: a throttled pool at once. Any other pool, and a single model, is *half open* after 1 s: one
  real request finds out, and the others keep away until it has succeeded (the circuit breaker of M. Nygard,
  Release It!). While trials fail the waits double up to 30 s, each shortened by up to half at random so that
  many processes don't try together. The trial may fail over, so it costs nobody an answer. A pool that is
  back gets 10, 25, 50 and 100 % of its weight, each step after a success and a second.
- *Hanging*: a time-out counts when the pool's own limit ran out, when the pool served nobody meanwhile, or
  when the caller waited three times as long as the pool's slow answers take. A caller who gave up sooner says
  nothing. A pool of which more than half of the requests hang is left whatever its weight.
- *Left by the table*: the planner may take a pool's weight away before enough requests of this process have
  failed there. If the pool hangs, what waits for its first byte is called back all the same: nothing would
  eject the pool any more, and those requests would wait until their callers give up.
- *Slowing down*: before that a pool that answers far more slowly than usual for it is sent fewer requests, as
  many as keep the number that waits there the same, and gets its share back as it is quicker.
- *Not everything at once*: leaving a pool that still succeeds now and then (partial failure) must leave at
  least half of the route's weight in; the last pool that serves a model always stays. The router decides
  that, as it knows the table; see ``may_leave``.
- *Throttle*: a pool that turns most of its requests away is sent fewer, so that it spends its work on what it
  serves.

``ejection`` judges one pool, ``verdicts`` holds all of them, ``counts`` counts over the last seconds,
``usual`` and ``slowness`` know how long answers take. Tested in tests/unit/client/health, and with
the router in tests/unit/client/routing/test_router.py.
"""
