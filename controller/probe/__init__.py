"""The prober: tiny real requests to every pool from a vantage of its own, published as health reports."""
