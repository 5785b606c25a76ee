"""Conformance vectors: what a client decides, written down so that a client in any language can be held
against it.

Each file of ``tests/conformance`` holds cases of one kind. A case has its inputs (a table as `tieline web`
serves it, a number between 0 and 1 for each random choice, instants in milliseconds) and, as ``gives``, what
the Python client makes of them. Nothing in a case depends on a clock, on chance or on a network. So another
client passes when it computes the same ``gives`` from the same inputs, exactly: pools, reasons, waits and
deadlines alike.

``play`` computes what a case gives, by the pure parts of the Python client. ``worlds`` and ``samples`` make
the inputs; ``plain`` reads the tables. The files are frozen: `python -m tools.conformance` compares them
with what the Python client does now, `python -m tools.conformance --write` writes them anew after a rule has
changed on purpose.

docs/http-table.md describes the table, docs/write-a-client.md the rules and the kinds of cases. Tested in
tests/contract/test_conformance.py for Python, and in tests/integration/test_typescript.py for TypeScript.
"""
