"""The log of route tables and its projection into Redis."""
