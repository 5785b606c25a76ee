"""From reports to the health of each pool."""
