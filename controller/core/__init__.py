"""The decision core: pure. Values in, values out; no I/O, no clock, no randomness."""
