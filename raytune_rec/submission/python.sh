#!/bin/sh
# Runs the Python that Ray's workers have on this node. Ray gives a job a plain shell, in which `python` may be another one or none:
# a virtual environment that Ray was started from need not be on PATH. Its path stands in the command of the raylet, which is an
# ancestor of this process; where it cannot be seen (no /proc) it is `python`.
pid=$PPID python=""
while [ -z "$python" ] && [ "${pid:-0}" -gt 1 ] && [ -r "/proc/$pid/cmdline" ]; do
    python=$(tr '\0' '\n' <"/proc/$pid/cmdline" |
        sed -n -e 's/^--python_worker_command="\([^"]*\)".*/\1/p' -e 's/^--python_worker_command=\([^" ]*\).*/\1/p')
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
python=${python:-python}
if ! "$python" -c 'import sys; from importlib.util import find_spec as of; sys.exit(not all(map(of, ("ray", "torch", "optuna"))))'; then
    echo "raytune-rec: $python: has not the packages that raytune-rec needs; install it for the Python that starts Ray, on every" \
        "machine of the cluster (pip install -c constraints.txt .), and start Ray from there again." >&2
    exit 2
fi
exec "$python" "$@"
