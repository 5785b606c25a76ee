"""HTTP transports: what an application's HTTP client is given in place of its own connections.

In comes a request of httpx2 or httpx, out goes a response of the same library. Between the two nothing is
decided: the request becomes an ``HttpRequest``, an ``Exchange`` (tieline._request) says what to do, and a
runner does that on a wire (tieline._http), awaiting or blocking.

- ``httpx2`` and ``httpx``: two class trees that don't mix. A transport of one fails inside a client of the
  other with an AssertionError, so each has shells of its own, derived from its own base classes. The openai
  SDK is made of httpx2 from 3.0 on and of httpx before.
- ``shells``: what both have in common, without their classes: a request as a value, and the body of a reply
  as it comes.
- ``runners``: drive an exchange. The asynchronous and the synchronous one are the same page twice, because a
  coroutine can't be run without an event loop.

The shells raise only what their library's own transports would: a stream that breaks is
``RemoteProtocolError``, one that stalls ``ReadTimeout``; everything before the first output is a normal
response. Connections belong to the client, so closing a transport closes nothing. Tested in
tests/integration/test_client_requests.py, test_client_sdk.py and test_client_libraries.py.
"""
