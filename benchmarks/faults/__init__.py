"""What does a run lose to faults? One fault is injected into a small real run, and the same command given until it has finished.

    python -m benchmarks.faults --count 10 --seed 0 --out runs/faults [--only worker_killed raylet_crash] [--plain]

A run is that of `benchmarks.kills`: made-up data, a pre-training, a search on Ray Tune, winners, artifacts, test metrics, through
the command line, on a cluster of a head, which trains nothing, and three nodes of a processor each, raylets on this machine, with
tokens on. Each injection is drawn from (seed, class, number): the same command goes on with those that are not made yet, and
`--only` and `--count` make them in parts. With `--plain` the yardstick is struck: a script of Ray Tune and Optuna alone, which
searches as many trials of the same prompt on the same data (`plain/`). The table has the lines of both beside each other;
"same" compares each with an undisturbed run of its own.

    fault.py    what a class of faults is   classes.py    those that the product may meet
    ours.py     what must hold of its runs  inside.py     faults within the command's own processes
    cluster.py  a head and three nodes      injection.py  one fault, until the run has finished, and what it cost
    table.py    what all of them come to    __main__.py   the command above
"""
