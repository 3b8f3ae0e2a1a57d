"""Does a sweep survive `kill -9` at any moment? Runs one small job once undisturbed, and again under kills, and compares.

    python -m benchmarks.kills --kills 30 --seed 0 --out runs/kills

The job is real (made-up data, a pre-training, a search on Ray Tune, winners, artifacts, test metrics) and runs through the
command line in a process of its own. At random moments (drawn over the time that an undisturbed attempt takes, or keyed to a file
that appears) its driver or a process that trains is killed, and in each folder once the driver while it exports, evaluates or
reports. The same command is given again until the run has finished, and then another folder is begun. Every finished folder must
hold what the undisturbed one holds: bit for bit where no time is written.

    job.py        the job            notes.py    notes each training that begins, and makes checkpoints frequent
    processes.py  the command, and the processes that came of it    moments.py  when to strike
    journal.py    the journal, read without the product's code      compare.py  two run folders
    sweep.py      one folder under kills    damage.py  damaged journals are refused    __main__.py  the command above
"""
