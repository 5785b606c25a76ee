"""The solver process, and the controller's side of it.

The dispatch (controller/core/lp) takes a few hundred milliseconds for a large installation, and HiGHS may
take longer or crash. A leader must send a heartbeat twice a second and decide within milliseconds. So the
solver runs in a process of its own, and nothing ever waits for it.

``dispatcher.py`` runs in the controller. While it leads, the agent has one problem solved every five seconds
at most. The dispatcher starts the solver process with the first problem, sends each problem to it, and keeps
the last plan that came back, which the agent puts into its next snapshot. A solver that is late is killed. A
dead solver is followed by another, after a wait that doubles while they keep dying. Without a new plan the
last one stays, and after ``thresholds.plan_fresh_ms`` moves by choice follow merit order instead.

``__main__.py`` is the solver process (`python -m controller.dispatch`). It reads a request on standard input,
solves it, writes the reply on standard output, and goes on until its input ends. It remembers only the last
policy, so killing it loses nothing. It ends with the controller, however that ends.

``frames.py`` is what goes between them: a length and msgpack, one request and one reply for each solve.

Tested with real processes in tests/integration/test_dispatch.py, and frame by frame in
tests/unit/controller/dispatch.
"""
