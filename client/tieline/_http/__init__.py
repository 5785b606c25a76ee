"""HTTP over sockets."""
