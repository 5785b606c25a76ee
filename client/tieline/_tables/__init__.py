"""Where route tables come from, and what happens to a table before a request sees it.

In: manifests and slices from one *source*, which is Redis (``redis``), a controller's HTTP endpoint
(``http``), a file (``last_good``), or a test's fake (``tieline.testing``); and, from anywhere, an emergency
overlay. Out: the table in force, given to the router, and the client's ``Status``.

A source only fetches and calls its ``Subscriber`` (``checks``). Sources are told of new tables by a hint
(Redis pub/sub, server-sent events) and also poll every 1 to 2 s. Hints make it fast; polling makes it right,
because hints may be lost. An urgent table is fetched at once, unless the hint carries it
(``tieline.table_hints``). Others are fetched after a random wait of up to 200 ms, so that a fleet of clients
does not come at the same moment.

The rules, in the order in which they apply to what a source fetched:

1. ``checks.examine``: only a table that is newer within its lineage, complete and undamaged replaces the one
   in force. Anything else raises ``TableError``, and the client goes on with the table it has. There is no
   way to delete a client's table.
2. ``exclusion``: the pools that an emergency overlay excludes are taken out of the table. ``overlays``
   decides which overlay is honoured: the newest one that was signed by one of the client's keys, until it
   expires.
3. ``follower`` puts the result before the router, tells listeners, and afterwards saves table and overlay to
   the last good file, from which the next start begins.

Beside the tables, ``shared_holders`` shares between processes which pool holds what, through the same Redis
or another one.

``status.StateTracker`` derives the client's state from what the source did and when.
Tests: tests/unit/client/tables, and for the real Redis and endpoint tests/integration/test_client_outages.py,
test_http_sink.py and test_overlay.py.
"""
