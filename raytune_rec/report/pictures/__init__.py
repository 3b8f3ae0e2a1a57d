"""Charts, from plain numbers and from a run."""
