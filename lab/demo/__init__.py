"""The demonstration: a real stack, stand-ins, clients that replay a production trace, and faults."""
