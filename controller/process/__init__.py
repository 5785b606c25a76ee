"""What every process of the controller needs, whatever it does: settings, connections, clocks, logs, an end.

In: flags and environment variables. Out: ``Settings``, connections that carry TLS and passwords, one log line
per event, and an exit status. The rules:

- A setting comes from its flag, else from its variable. Secrets come from variables and files only, because
  others on the machine can read flags. A wrong setting raises ``SettingError``, which names it and its
  remedy.
- The type of an error says who acts on it (``errors``). A ``UserError`` is one sentence for the operator and
  ends a command with status 2; every other exception is a fault of this program and shows its traceback.
- Only ``clock`` reads a clock. Everything pure takes its time as an argument, so that a test or a replay
  decides what time it is. The same file watches whether the wall clock can be trusted.
- A process is a set of tasks that all have to run (``supervise``): when one ends, the process ends, so that
  whoever supervises it starts it again. The first SIGTERM asks for a clean end, a second one ends it at once.
- Logs are structured (``telemetry``): JSON lines, or columns on a terminal. Libraries are limited in rate,
  and passwords are removed from every field.
- ``monitor`` answers ``GET /livez``, ``GET /readyz`` and ``GET /metrics`` for every command that runs for
  long.

This is the lowest wing: it imports nothing else of the controller.

Tests: tests/unit/controller/process, tests/integration/test_secured.py, tests/integration/test_cli.py.
"""
