"""Collectors: what others publish about pools, read over HTTP and told to Tieline as events.

In: a file that names collectors (``configuration``), and what their servers answer. Out: statements and
capacity on Kafka. `tieline collect` is one process with any number of collectors, and it is never needed for
a decision: a controller decides on what it has heard, and a collector that falls silent is only missed.

- **What can't be read says nothing.** A failed fetch, a body of the wrong type and a feed that can't be read
  send no event, and never "all is well". What was stated before runs to its own expiry, which is bounded.
- **What is read is stated again.** Every round states all that a collector claims, so a region about which
  the feed names nothing is retracted, and a statement lives as long as its feed can be read.
- **Nothing is guessed.** The file maps the feed's names to regions and pools. A name that it does not map is
  logged once and counted.
- **Every body is hostile.** ``fetching`` is the only place that speaks HTTP. It bounds size, also after
  decompression, and time. It follows redirects only to hosts that the file names. It connects only to an
  address that it has checked: a public one, or one that the file names (``addresses``).
- **No collector disturbs another.** Each has its own interval, time-out, back-off and health (``rounds``).

    collector      what a collector is: settings, requests, and a pure function from bodies to events
    kinds          all kinds of collectors
    configuration  the file: all mistakes at once, each with its line; also against a policy
    addresses      which addresses may be reached, and a resolver that gives no other
    bodies         a body's size, compression and media type (pure)
    fetching       one request with all guards; ETag and Last-Modified
    identities     who a collector is to a provider's API: tokens, signatures
    rounds         one collector, round after round
    watching       the rounds of a Kubernetes collector: a list, and watches that follow it
    run            all collectors of a file
    feeds          status pages
    webhook        what others push, when the file says where to listen
    capacity       metrics of model servers and GPUs, Prometheus, Kubernetes, quotas of providers

How to write a collector: docs/collecting.md. Tests: tests/unit/controller/collect,
tests/integration/test_collect.py.
"""
