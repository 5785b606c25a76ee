"""How a client is put together."""
