"""Does a change leave every result as it was? Runs the shipped jobs on cut-down data, and compares two such folders bit for bit.

    git switch --detach BEFORE
    python -m benchmarks.same keep --out before --data PATH/TO/DATA
    git switch -
    python -m benchmarks.same keep --out after --data PATH/TO/DATA
    python -m benchmarks.same compare before after

Jobs: quickstart, plate_douban, ppr_ml1m, ppr_profiles and, from sasrec_beauty, ppr_cross_domain. Every fifth to thirtieth user of
the real data, few epochs, few trials; every row, strategy and kind of test. Without `--data` the quickstart alone.

Compared are all tensors (backbones, winners, artifacts), what was asked and told in each study, and every number of
`results.json`, `trials.json`, `winner.json` and `prompt.json`, but for times, fingerprints and versions. Names that a change gave
to things are named in `renamed.toml`, old to new.

    cut.py  small raw data    jobs.py  the runs    contents.py  what a run folder holds    __main__.py  the command above
"""
