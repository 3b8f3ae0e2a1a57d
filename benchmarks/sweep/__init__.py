"""What training many configurations side by side is worth, in wall clock: see `__main__`."""
