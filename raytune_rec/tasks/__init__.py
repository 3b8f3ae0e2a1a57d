"""What differs between tasks: how rows are validated, tested and served. One file for each; `base` is the contract."""
