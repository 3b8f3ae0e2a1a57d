"""The search on Ray Tune: spaces, studies in one journal, rounds cut into packs, and the engine that trains them."""
