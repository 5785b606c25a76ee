"""How load moves between pools, so that every table on the way is lawful and within limits by itself.

In: an ``Assessment`` of all pools and routes, and the table in force. Out: a ``Draft`` of the next table.

- ``eligible.py`` says what each pool may be used for: how much it may carry, and its grade, that is whether
  it may gain load, keep it, or nothing. ``modes.py`` narrows that to what modes and freezes allow.
- ``draft.py`` is the table while it is worked on. Each operation conserves shares and load.
- Forced moves (``unplaced.py``, ``forced.py``): what a pool loses goes in order of merit to lawful pools with
  room, at once. Where there is none, other load makes way (``chains.py``): it moves on to free room in as few
  moves as possible, or is shed if it is less critical. Nothing else is touched. ``room_order.py`` keeps the
  pools of a tier in the order of their room meanwhile. Do no harm: a pool is left
  only if the load it serves can be served elsewhere, else it keeps it, at a trickle if nothing succeeds
  there.
- Moves by choice (``voluntary.py``): one small step at a time towards a target, which is the table filled
  anew in order of merit, or the dispatch's plan. ``reversal.py`` keeps load from going back and forth.
- ``first_table.py``: the first table of a lineage, when nothing is known yet.
- ``on_loss.py``: what each route becomes when a whole provider is lost, decided in advance for clients.
- ``last_resort.py``: where a client may try a request for which it has nothing left.

Order of use: healthy pools, then degraded ones, then unknown ones up to what they carry and, for critical
load, beyond; pools that are down last.

Tested in tests/unit/controller/core/moves, tests/property/test_reflex_property.py (against an independent
model), tests/property/test_planner_property.py and tests/property/test_rest_property.py.
"""
