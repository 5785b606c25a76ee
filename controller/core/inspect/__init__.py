"""Explaining decisions without changing anything."""
