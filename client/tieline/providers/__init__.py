"""How a provider is asked and how its answer is read. PURE: nothing here does I/O.

A pool's endpoint speaks OpenAI's HTTP API with small differences that the table names by an *adapter*: where
the deployment's name goes (the body or the path), and which header carries the secret. What comes back is
read alike for all of them:

- A request's URL and the header with its secret come from ``url_for`` and ``auth_for`` (``shapes``).
- A status, or an error in a body or a stream, becomes a ``Reading`` (``answers``): the class that is
  reported, whom it blames, and whether another pool or the same one may answer differently. One request that
  is refused says nothing about the pool.
- A good status is no proof of an answer: the body of an API whose answers are JSON is judged (``whole``).
- A stream is read up to its first real output (``streams``). Until then nothing has been handed on, so the
  request may still go to another pool. A stream that ends without the protocol's own last event was cut, even
  where its HTTP body ended well: the openai SDK itself would not notice.

The client library sends applications' requests by these rules, and Tieline's prober sends its probes by the
very same ones. Were there two copies, a probe could accuse a pool that serves every application, or the
reverse.

Not covered: time-outs and broken connections, which are not answers; see ``tieline.events.ResultClass`` for
their classes. Tested in tests/unit/client/providers, and against real sockets in
tests/integration/test_client_providers.py and tests/integration/test_probe.py.
"""

from tieline.providers.shapes import SHAPES, Header, Shape, auth_for, url_for

__all__ = ["SHAPES", "Header", "Shape", "auth_for", "url_for"]
