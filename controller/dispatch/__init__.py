"""The dispatch: a process of its own that solves the whole table, so that no heartbeat waits for a solver."""
