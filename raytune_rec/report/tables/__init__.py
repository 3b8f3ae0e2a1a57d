"""The tables of the page and of a terminal."""
