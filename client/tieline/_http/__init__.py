"""HTTP/1.1 over sockets: connections, requests on their way, and a controller's endpoint.

In comes a request as values (method, URL, headers, body) with a ``Flight``, which says until when to wait.
Out comes an answer whose head has been read and whose body is read on demand, or a ``WireError`` with the
class of its failure: ``connect`` before the answer's head, ``cut`` after it, ``timeout`` when the flight's
time is over.

- ``messages``: requests and answers without any library's classes.
- ``content``: bodies of requests, of any size. A large upload is in a file, of which each attempt reads a
  piece at a time.
- ``http1``: one connection's state over h11, sans I/O.
- ``wire_async``, ``wire_sync``: sockets around it, awaiting and blocking; ``connections``: what both have in
  common, and those kept alive between requests. A kept connection whose server has left it is replaced by a
  new one, at no attempt's cost and without blame; one that is five minutes old is not used again.
- ``failures``: what goes wrong with connections, in words that a caller knows.
- ``dial_async``, ``dial_sync``: how a place is reached, the addresses of its name side by side; ``names``:
  what those addresses are, also while the resolver is away.
- ``proxies``: the egress proxy of a place, from the environment or the application.
- ``tls``: whom to trust, and by which certificate a client shows a pool who it is; ``tls_in_tls``: TLS with a
  pool within that of a proxy.
- ``flights``: every attempt on its way, by pool. They bound how many requests one pool may hold, tell how old
  the oldest is, and let requests be called back from a pool that stalls.
- ``endpoint``: a controller's HTTP endpoint, from which tables come and to which reports go.

Why not the pools of httpcore: they look at every idle connection for every request, and their streams wait in
ways that can't be called back. Why no retries and no redirects: whether to try again is decided in one place
only (tieline._request), and a redirect would carry a secret to another host.

Tested in tests/unit/client/http, and over TLS and faults in tests/integration/test_client_tls.py,
test_client_connections.py and test_client_chaos.py.
"""
