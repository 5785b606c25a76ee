"""Stand-ins for providers: real HTTP servers that answer like an inference provider and fail on command.

One process stands for one provider-region and serves each of its pools on a port of its own. It speaks
OpenAI's APIs (``apis``: chat, completions, responses, embeddings, images, audio, moderations, files, batches
and models), whole answers (``wholes``) and each API's own streams (``streams``).

What comes in: requests of callers on the pools' ports, and orders on the admin port (``admin``): switch a
fault on or off, change a capacity. What goes out: answers, refusals and broken connections; a log of every
request (``journal``); the capacity of the pools, to Kafka (``capacity``).

A request takes this way::

    port (ports) -> read the request (wire) -> judge (pool) -> note its arrival (journal)
        -> refuse (answers) or send an answer, whole or spoilt (sending) -> note its end (journal)

``pool`` judges in a fixed order: first the faults that strike before the service (``faults``), then key and
model, then capacity (``load``: a token bucket). An admitted request is answered after a time that ``load``
draws from a latency model, slower under load.

- *The same request fares the same.* Whether a fault for 30 % of the requests strikes, and how long an answer
  takes, are drawn from the request's id and a seed, not from a global generator.
- *The log proves what happened.* A line is with the operating system before the caller gets the last byte, so
  a log that ends by SIGKILL still names every request that was answered. ``ledger`` counts from these logs
  which requests were lost; the demo's verdict rests on them. Tested in ``test_standins_process``.
- *A dead port refuses and comes back under the same number* (``ports``), as a provider's address does.

``config`` says what to serve, ``host`` runs it, ``process`` starts it as a child. Tests:
``tests/unit/lab/standins``, and ``test_standins.py``, ``test_standins_apis.py`` and
``test_standins_process.py`` in ``tests/integration``.
"""
