"""Job files: the TOML that we read, flat options, and what is shipped."""
