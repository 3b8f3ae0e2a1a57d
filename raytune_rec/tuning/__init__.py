"""The search on Ray Tune: spaces, studies in one journal, rounds cut into packs, and the runner that trains them."""
