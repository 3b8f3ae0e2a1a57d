"""What packs: which lanes train together, how many fit, and the folder of a pack."""
