"""One request of an application: from the bytes it came as to the reply it gets. Sans I/O, as h11 is.

In comes an ``HttpRequest`` without any HTTP library's classes. Out goes a ``Reply``, always: a pool's answer,
or an error made here in OpenAI's own shape. Between the two, five parts, each a page:

- ``exchange.Exchange``: the request as a whole. It asks the machine below what to do, does it, and reports
  what came of it. The only loop in this library that retries.
- ``retry_rule.Attempts``: the rules, as a state machine without side effects. How an attempt ended goes in,
  what to do next comes out: send by this route, wait, give up, or refuse.
- ``timed_attempt.TimedAttempts``: each attempt within its time limits, and the report of how it ended.
- ``attempt.attempt``: one attempt at one pool. What to send, and what to read until it is known whether the
  answer is good.
- ``relay.Relay``: the rest of an answer after its first output. Handed on as it comes, and watched for its
  end. ``recovery`` says what follows when that does not come.

Before all of them ``upload`` takes in a body that the caller gives piece by piece, and ``body`` and ``form``
read in it what routing needs.

``Exchange``, ``TimedAttempts`` and ``attempt`` are generators. They yield *effects* (``Open``, ``Read``,
``GetSecret``, ``Sign``, ``Pause``), and whoever runs them does those by blocking or by awaiting
(``tieline._transports.run``) or from a script (the unit tests).

What an attempt's end means is a ``Reading`` (``tieline.providers.answers``), which decides what follows:

- It was good: handed on.
- Another pool may answer differently (``elsewhere``): that one, at once.
- There is no other, and the same pool may answer differently in a moment (``again``): the same one, after a
  wait that doubles, or as long as it asked for.
- Neither: the provider's own answer is handed on. So it is when all pools have refused.

There are at most three attempts under one deadline, and ``limits`` says how long each may take. ``refusals``
remembers what the answers say about requests to come. Leaving a pool that still succeeds costs a token of the
retry budget; leaving one that succeeds no more costs none, but goes at the pace of the pool that takes over.
Once the first output has reached the caller there is no other attempt: two answers are never spliced. A
request that refers to what one provider holds (a response, a file, a thread) goes there, or to a pool of the
same endpoint and credential, and nowhere else: ``references`` reads what it refers to, ``ties`` says where
that lets it go, and ``memory`` which pool holds it. A request that has timed out for its caller and may be
billed reaches no pool again when an SDK resends it: ``billed_timeouts`` remembers those.

``tracing`` makes OpenTelemetry spans of requests and attempts, where an application asks for them.

Tested in tests/unit/client/request, and on sockets in tests/integration/test_client_requests.py.
"""
