"""The world around a Tieline process, simulated: time, the network, Kafka, Redis and the solver process.

The real code of controllers, producers and clients runs on it unchanged. It reaches the world through ports,
and here is their other side:

- ``loop``: an event loop in virtual time. When nothing is ready to run, its clock jumps to the next timer, so
  an hour of waiting costs nothing. A simulated process is all that was started in one context: it can be
  stopped for a while (SIGSTOP) and killed (SIGKILL) between any two steps of its tasks.
- ``clocks``: the functions of ``time`` read the virtual clock, and each process may be wrong about it. What
  is random comes from the seed.
- ``network``: a request from a process to a server and its answer, each with a delay; a link can be cut and
  healed. What was sent arrives later, also when its sender is dead by then.
- ``kafka``: topics as logs, groups with their rebalances, brokers with clocks of their own;
  ``kafka_clients``: consumers, producers and admin clients with aiokafka's methods, made by ``SimBrokers``,
  which takes the place of ``tieline.Brokers``.
- ``redis``: strings, hashes, channels and the product's own Lua scripts, run by Lua; ``redis_client``: a
  client with redis-py's methods.
- ``reader``: a member of the consumer group in the place of Faust; ``solver``: the solver's answers.

Nothing here decides what is right. One seed gives one run, bit by bit: whatever would differ (addresses in
memory, hashes of text, the real clock) is kept out.

Tests: tests/unit/lab/simulated; what is simulated is held against the real servers by
tests/contract/test_simulated.py.
"""
