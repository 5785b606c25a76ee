"""The record of decisions, and deciding them again."""
