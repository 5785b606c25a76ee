"""Operators' commands in force."""
