"""Tieline's client library: routes inference requests between providers, in memory."""
