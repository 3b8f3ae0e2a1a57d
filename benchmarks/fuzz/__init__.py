"""Is a damaged folder refused in words? Damages small sound folders at random, and reads them.

    python -m benchmarks.fuzz --count 100000 --part 1/4 --out runs/fuzz

A case is drawn from its number alone: what is damaged (marker, facts, header or tensors of a prompt or of a backbone, the data
beside it, the marker of a stage, a segment of the journal), how, and whether every hash is made to fit again. It must be read, or
be refused by an ArtifactError (or another of our own); nothing may be executed. A part goes on where it stopped.

    folders.py  the sound folders    damage.py  what is done to them    __main__.py  the command above
"""
