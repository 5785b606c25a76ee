"""The dispatch as a linear programme."""
