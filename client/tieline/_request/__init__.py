"""One request as a machine."""
