"""Benchmarks: one file each, run by `script/bench NAME [--json]`, all reporting through `bench._frame`."""
