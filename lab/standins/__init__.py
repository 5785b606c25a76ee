"""Provider stand-ins: real HTTP servers that answer like an inference provider and fail on command.

One process stands for one provider-region and serves each of its pools on a port of its own. ``config`` says
what to serve, ``host`` runs it, ``process`` spawns it as a child, ``ledger`` reads its logs afterwards.
"""
