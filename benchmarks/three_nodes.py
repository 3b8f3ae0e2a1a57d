"""A job submitted to a cluster whose workers and driver are killed, beside the same job undisturbed on this machine.

    python -m benchmarks.three_nodes JOB --out FOLDER [--set PART.OPTION=VALUE ...] [--kills 2] [--seed 0]

The cluster is a head, which trains nothing, and three nodes of a processor each, on this machine, with tokens on. The run folder
lies on an S3-compatible server that this program starts (moto). What a user would do is done by a user's commands:

    raytune-rec run JOB --out FOLDER/undisturbed
    raytune-rec submit JOB --address URL --out s3://bucket/run                 then workers and the driver get SIGKILL
    raytune-rec submit JOB --address URL --out s3://bucket/run --follow        until it is done

In the end all files that a user keeps (artifacts, winners, backbones, trials, results, data) are compared, byte for byte where
they hold no times. FOLDER/cluster is the run as it came from the server. Needs Linux and the extra `test`.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from moto.server import ThreadedMotoServer

from benchmarks.faults.cluster import Nodes, set_out
from benchmarks.kills.compare import differences
from benchmarks.kills.processes import Command, Process, family
from benchmarks.mistakes import at_least, told
from raytune_rec.errors import RunFailed
from raytune_rec.storage.objects import store

BUCKET = "bucket"
RUN = f"s3://{BUCKET}/run"
_LONGEST = 4 * 3600.0
"""Seconds that one command may take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("job")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--kills", type=at_least(0), default=2, help="of workers that tune, before the driver is killed")
    parser.add_argument("--seed", type=at_least(0), default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    words = [options.job, *(word for setting in options.set for word in ("--set", setting))]
    with tempfile.TemporaryDirectory(prefix="rt", dir="/tmp") as temporary:
        chance = random.Random(options.seed)
        found = measured(words, options.out.resolve(), Path(temporary), options.kills, chance)
    for line in found or ["every file that a user keeps is the same"]:
        print(line)
    sys.exit(1 if found else 0)


def measured(words: Sequence[str], out: Path, temporary: Path, kills: int, chance: random.Random) -> list[str]:
    """Run both, and compare.

    Args:
        words: of the job and its settings.
        out: takes both run folders and what the commands say.
        temporary: for Ray; short.
        kills: of workers. chance: decides when, and which.

    Returns:
        What differs; empty where nothing does.

    Raises:
        RunFailed: a command ends otherwise than it should.
    """
    undisturbed = out / "undisturbed"
    log = out / "undisturbed.log"
    _ended(Command(["run", *words, "--out", str(undisturbed)], log, temporary), log)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=_free(), verbose=False)
    server.start()
    set_out(temporary)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # the cluster's `python`
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update({"AWS_ENDPOINT_URL": f"http://{host}:{port}", "RAYTUNE_REC_CACHE": str(temporary), **keys})
    store("s3").mkdir(BUCKET)
    page = _free()
    nodes = Nodes({"include_dashboard": True, "dashboard_port": page, "dashboard_agent_listen_port": 0})
    try:
        nodes.whole()
        log = out / "cluster.log"
        submit = ["submit", *words, "--address", f"http://127.0.0.1:{page}", "--out", RUN]
        first = Command([*submit, "--follow"], log, temporary)
        for _ in range(kills):
            _strike(first, lambda: [p for p in nodes.trainers() if "Trainable" in p.name], chance, log)
            _say(log, "SIGKILL for a worker")
        _strike(first, _drivers, chance, log)
        _say(log, "SIGKILL for the driver")
        _say(log, f"the command that followed it has ended with {first.wait(_LONGEST)}")
        _ended(Command([*submit, "--follow"], log, temporary), log)
        store("s3").get(f"{BUCKET}/run", str(out / "cluster"), recursive=True)
    finally:
        nodes.stop()
        server.stop()
    return differences(undisturbed, out / "cluster")


def _strike(job: Command, there: Callable[[], list[Process]], chance: random.Random, log: Path) -> None:
    """SIGKILL for one of the processes that there are, at a moment that is drawn.

    Raises:
        RunFailed: the job has ended before.
    """
    while job.code is None:
        time.sleep(chance.uniform(0.5, 4))
        processes = there()
        if processes and chance.choice(processes).kill():
            return
    raise RunFailed(f"the job has ended before all was killed that is to be; what it said is in {log}")


def _drivers() -> list[Process]:
    """What a job of the cluster has started as the product's command."""
    ours = family(lambda process: process.pid == os.getpid())
    return [p for p in ours if "-m raytune_rec run" in p.name and "python.sh" not in p.name]


def _ended(command: Command, log: Path) -> None:
    if code := command.wait(_LONGEST):
        raise RunFailed(f"exit code {code}; what it said is in {log}")


def _say(log: Path, line: str) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(f"--- {line}\n")


def _free() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
        return port


if __name__ == "__main__":
    with told():
        main()
