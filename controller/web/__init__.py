"""The HTTP endpoint `tieline web`: the live page, route tables for clients without Redis, reports for Kafka.

In: the projection in Redis, which ``follow`` watches, and clients' reports. Out: a workload's routes as
msgpack (for Tieline's own client) or as JSON (for everybody else), a stream of server-sent events that names
each new table, and the reports on Kafka. It is a process of its own, so that no caller can delay a heartbeat
or a decision. The rules:

- **It serves what it has.** The newest table and overlay stay in memory (``board``) and go on being served
  while Redis and every controller are away. ``/v1/health`` is 200 as long as there is a table, however old.
- **Within a lineage the served table never goes back**, whatever Redis holds. Each slice is checked against
  the manifest's checksum before it is served; a damaged table leaves the one before in place.
- **Everything has a bound** (``admission.Bounds``): connections, streams, requests per address, the time to
  make a first request, to send a body, to read a stream, and the size of a report. Whatever is beyond a bound
  is refused or dropped, counted by its cause, and told with 429 or 503 and ``Retry-After`` where an answer is
  possible.
- **Callers carry bearer tokens**, which are kept as digests and compared in constant time. An address that
  other machines reach needs tokens; loopback may go without. A bad file of tokens leaves the former ones in
  force.
- **Events are hints, not a queue.** An event says what is newest; a slow reader misses what was overtaken.
  Only a forced move, an order or another overlay is ``urgent``; for everything else clients spread their
  fetches.
- A report is answered 202 when it is on its way to Kafka. It is perishable, and may still be lost.

The live page (``page``) shows what is happening and changes nothing. The rules for it:

- **It shows what `tieline status` prints**, made by the same functions (``controller/status``), in the same
  words. ``watch`` follows Kafka and Redis only while somebody looks.
- A reader gets one whole picture first (``live``), then what differs from the picture that it has
  (``picture``). A slow reader skips pictures; nothing waits for it.
- What-if (``rehearsal``) is the answer of `tieline whatif`, one question a caller, within a time.
- **Whoever may not look gets nothing** (``visitors``): a token, a session that a token began, a reverse proxy
  that is named, or loopback under its own name. Sessions are not stored, and end with their token.
- What comes from outside is text in the browser, never markup, and nothing is loaded from elsewhere: the
  content security policy allows this endpoint only.

Signed overlays pass through unopened: whether one counts is decided by the clients, which have the keys. The
format is documented in docs/http-table.md.

Tests: tests/unit/controller/web, tests/integration/test_web.py, tests/integration/test_web_bounds.py, and
tests/browser in a real Chromium.
"""
