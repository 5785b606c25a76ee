"""`tieline gateway`: an HTTP server that speaks OpenAI's API, over the client library.

Programs in any language call it as they would call OpenAI. In: their requests, with a token of the gateway's
own. Out: the answers of pools, streams piece by piece as they come. Which pool gets a request, what is tried
again, and what becomes of a pool that fails is decided by the client library in this process, as for a Python
program that has it; the gateway only lets requests in and hands on what comes back. The rules:

- **Who calls decides where a request belongs.** A token has a workload and an origin by the policy's names.
  A path prefix or a header may name another workload that the token may use (``placing``). Tokens are known
  by their digests (``callers``); an address that guesses is refused for a minute.
- **Nothing is held twice.** A body goes into memory once, a large upload into a file; a stream is written as
  it is read, and a caller who reads slowly slows the provider.
- **A reply is what the client library would give**: the provider's own words, or an error in OpenAI's shape,
  with ``x-tieline-*`` headers that say which pool, how many attempts and why. A stream that breaks after its
  first output breaks here too; it never ends as if it were whole.
- **Tokens follow their file** while the gateway runs (``rereading``). Those of pools are renewed as the
  client library does it (``credentials``).
- **Each token has its own limits** of requests and units, told with 429 and ``Retry-After`` (``limits``).
  When the table sheds a part of a workload, those who ask for more than their share bear it (``fairness``).
- **Several workers share one listening socket** (``workers``). Each has clients of its own; what must hold
  for all together, such as the limits, lies in memory that they share.
- **The end is told first**: after SIGTERM `/readyz` fails while requests are still taken, then streams may
  end, and those that do not are told so in an event of their own (``draining``).

It is a process beside those of the controller, and needs none of them while it runs: the table comes from
Redis or from `tieline web`, and the last good one from a file. From the controller it takes only what every
process needs: settings, logs, the monitor and the reading of YAML.

Tests: tests/unit/gateway, tests/integration/test_gateway.py.
"""
