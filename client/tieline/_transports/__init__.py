"""HTTP transports: thin shells, one per client library, over one driver."""
