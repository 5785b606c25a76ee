"""Which pool a request goes to, in memory, in about a microsecond. PURE but for the router's lock and clock.

In comes the table in force (a slice for each origin that this client serves) and what this process has seen
of each pool (tieline._health). Out goes a ``Route`` to send one request by, or a ``Shed`` that says why there
is none.

1. ``slices``: which of the table's splits is in force. The route's own, or its ``on_loss`` split once more
   than half of a provider's weight is out here. The planner made both by the same rules, so a client may
   switch by itself.
2. ``compile``: that split, less the pools that are out or don't offer the model, becomes a ``Choice``. It is
   compiled when the table is swapped or a pool goes out or comes back, never by a pick.
3. ``pick``: a pick is one step along the choice's line of weights, and one bisection. No lock, no allocation,
   and every weight is honoured exactly, a millionth included.
4. ``affinity``: a session's requests go to one pool, so that its prompt cache stays warm. Losing a pool moves
   that pool's sessions and no others.
5. ``fallback``: when no pool of the split is left, what the table would use without the lost providers, then
   its last resort.
6. ``budget`` sets how much may be retried, and the pace at which a pool takes over what another has dropped;
   ``room``, how many requests a pool has room for by its rate-limit headers.
7. ``chooser``: all of this together; ``choices`` are the compiled ones with their counts. ``router``: the
   same thread-safe, and what is made of how requests ended.

What the table sheds stays shed: how much may be carried is the planner's decision. Measured by `script/bench
pick`. Tested in tests/unit/client/routing and tests/property/test_client_picks.py.
"""
