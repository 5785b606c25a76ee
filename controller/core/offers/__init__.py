"""Capacity that is asked for, and what providers answer: from a shortage to capacity that counts.

In: the last plan of the dispatch, which says what load has no room now, after one loss, or after a growth;
what is remembered of requests; answers of sources; and operators' orders ``accept`` and ``decline``. Out:
the requests as they are now (``OfferRequest``), which the planner remembers.

1. ``shortages.py``: what is short, by the geographies in which that load may be served at all. Only the plan
   says so: a table in the middle of its moves is often short for a moment.
2. ``answers.py``: which answers count. A provider may give capacity only if it was asked, on pools that are
   lawful for the load that is short, and for no more than the policy pays. So neither exclusivity nor
   residency nor the right of first refusal is loosened by an answer, whoever gives it.
3. ``flow.py``: a shortage that lasts becomes one request for its geographies. The holder of the first refusal
   is asked alone, with a deadline. Once it has refused or let the deadline pass, all others are asked at
   once. The request ends when enough is accepted, when everybody has answered, or when nothing has been short
   for a while. There is one open request for the same geographies at a time, and a pause after each.

What was accepted is capacity from its start to its end (``capacity/accepted.py``): beside what is stated, and
only until a source of the pool states its capacity after that start, since what is measured outweighs what
was promised.

The requests are part of the planner's memory, so a take-over goes on with them, and deciding again gives the
same ones. The topic ``tieline.offers`` tells them to others (controller/offers). Why it is so: decision 0016.

Tested in tests/unit/controller/core/offers and tests/property/test_offers_property.py.
"""
