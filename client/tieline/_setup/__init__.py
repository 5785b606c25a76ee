"""How a client is put together from what the application passes to it.

In: the arguments of ``AsyncClient`` and ``Client``. Out: the parts, connected. The steps, in order:

1. ``arguments``: PURE. Each argument is checked before anything is done with it. What can't work is refused
   by a ``ConfigurationError`` that names the argument and says what is expected; a secret is never repeated.
2. ``addresses``: from the address of the table its source is made, and the sink of reports. Only here is it
   decided which optional package is needed; one that is missing raises ``MissingExtraError``.
3. ``core``: the parts that work on requests. They are the same objects for the asynchronous client and its
   synchronous twin, so that both route alike.
4. ``http_clients``: a client of httpx2 or httpx over the core, for the openai SDK.

Nothing is connected and no file is read before ``start``.
Tests: tests/unit/client/setup.
"""
