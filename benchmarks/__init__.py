"""Measurements: each prints a table and writes JSON, and compares within one run."""
