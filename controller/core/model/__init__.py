"""The values that all chapters of the core share, and that a decision takes, gives and remembers.

| file | what |
|---|---|
| reasons.py | states of a pool, reasons, and ``Verdict``: a subject, a reason, since when and until when |
| words.py | the only place where a verdict becomes a sentence |
| memory.py | what a decision hands to the next one; it travels with the table to another leader |
| dispatch_plan.py | what the linear programme is asked (``Problem``) and what it answers (``Plan``) |
| memo.py | what one planner keeps in its process to be quicker; no part of a decision |

Two kinds of state must not be confused. ``Memory`` decides: it holds states, instants and budgets, it is
recorded, and the next leader goes on from it. ``Memo`` only saves work: a decision without it gives the same
bytes.

Everything recorded is a frozen msgspec struct, so that a decision can be written down and decided again
(tests/contract/test_recorded_decisions.py). Fields of such structs keep their names and their order.
"""
