"""Job files: the TOML that we read, flat options, what has another name now, and what is shipped."""
