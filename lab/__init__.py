"""What shows and tries the product, a distribution of its own (``tieline-lab``).

Nothing that ships imports it.

``lab.stack`` runs a real Kafka and a real Valkey, ``lab.standins`` runs servers that answer like inference
providers and fail on command, and ``lab.demo`` runs both together with the product, breaks parts of it under
load, and counts what was lost. Tests and benchmarks use the first two.

- *The parts are real.* The demo starts the same commands that an operator starts, and its callers are
  applications that know nothing but the public client library. What is simulated is only the providers.
- *The lab sees the product from outside*: its topics, its commands, its client. It may import ``controller``
  to read what the product publishes, never the other way round (``.importlinter``).
- *Every child process is started and ended in one way* (``children``, and ``keeper`` between it and us). None
  outlives the process that started it, even if that is killed.
- *What stops a command is one sentence* for the person who started it (``errors``).

``lab.chaos`` breaks every part of the whole in turn and checks what held. ``lab.detect`` measures what probes
find without clients. ``lab.sim`` needs none of this: it steps the planner through generated worlds in virtual
time.

``commands`` adds ``tieline demo``, ``tieline fuzz``, ``tieline stack`` and ``tieline standins`` to the
command ``tieline``, by the entry point ``tieline.commands``. Without this distribution they are not there.
"""
