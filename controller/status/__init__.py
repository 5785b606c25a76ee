"""What is now, as values: the same for the commands that show it and for the live page of `tieline web`.

What comes in: the newest publication, the leader log, the order log, the controllers' words about themselves
and recent dead letters from Kafka; the live tables, the projected table and the emergency overlay from Redis.
What goes out: a ``Status`` (``gather``), or a ``Moment``, which is what a controller would decide on now
(``live``). Nothing here writes anything.

    live         the present as one snapshot, for whoever explains or asks what if
    gather       the status, made purely from what Kafka and Redis hold, and read once for a command
    following    both, followed over connections that stay open, for whoever shows it again and again
    head         what a person must know first, as lines, the worst first; the exit status for scripts
    overview     a row for each provider, pool and route
    controllers  every controller that said something lately, and what is wrong with it
    leadership   who leads
    redis_side   what Redis holds, in one round trip: live tables, the projected table, the overlay
    dead_letters recent dead letters
    uptake       how far clients have taken a table over, and what is in flight at emptied pools
    what_if      questions "what if" by name, and the planner's answers
    words        times, orders and overlays in words

Each part that can't be read leaves out what only it knows, and ``missing`` says which part and why: a status
never takes a guess for a fact. Reasons are derived by deciding again with the planner's own functions, so a
status can't disagree with what the controller does. Sentences are made here, where people read them; values
keep codes, which programs compare.

Tests: tests/unit/controller/status, tests/integration/test_cli.py.
"""
