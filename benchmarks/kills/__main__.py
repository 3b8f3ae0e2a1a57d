"""`python -m benchmarks.kills`: see the package's own words."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import kills
from benchmarks.kills import compare, damage, job
from benchmarks.kills.moments import EARLY, MOST, draw, late
from benchmarks.kills.processes import Command
from benchmarks.kills.sweep import STAGES, Strike, Sweep
from benchmarks.mistakes import at_least, told
from raytune_rec.storage.files import write_json

_MOST_WORKERS = 3
"""Of one attempt: a pack may lose its process `max_failures` times."""
_MOST_FAILED = 3
"""Attempts of a folder that end by themselves, and not well."""


class Campaign:
    """All folders of one call.

    Args:
        out: takes the folders; must be new.
        count: of kills.
        seed: of their moments.
        temporary: for Ray.
    """

    def __init__(self, out: Path, count: int, seed: int, temporary: Path) -> None:
        out.mkdir(parents=True)
        self.out, self.count, self.temporary = out, count, temporary
        self.chance = random.Random(seed)
        self.job = job.write(job.JOB, out / "job.toml")
        self.sweeps: list[Sweep] = []
        self.seconds: dict[str, float] = {}

    @property
    def kills(self) -> list[dict[str, Any]]:
        return [kill for sweep in self.sweeps for kill in sweep.kills]

    def undisturbed(self) -> Path:
        """The run that the others must equal. Up to its pre-training it is made in a folder that others begin with."""
        base, whole = self.out / "base", self.out / "A"
        self._plain("prepare", base)
        self._plain("pretrain", base)
        shutil.copytree(base, whole)
        self._plain("run", whole)
        return whole

    def under_kills(self) -> None:
        """Folder after folder until all kills are made. Every other one begins from nothing."""
        while len(self.kills) < self.count:
            run = self.out / f"B{len(self.sweeps) + 1}"
            whole = len(self.sweeps) % 2 == 1
            if not whole:
                shutil.copytree(self.out / "base", run)
            sweep = Sweep(run, self.job, self.out / "logs", self.temporary)
            self.sweeps.append(sweep)
            while sweep.code != 0:
                sweep.attempt(self._strikes(sweep, whole))
                self._note()
                if len(sweep.failed()) > _MOST_FAILED:
                    raise SystemExit(f"{run.name}: the command fails again and again: {sweep.failed()[-1]}")

    def _strikes(self, sweep: Sweep, whole: bool) -> Iterator[Strike]:
        """Strikes of one attempt, while kills are left: two at random, then one in a late stage, and on at random."""
        workers = 0
        while len(self.kills) < self.count:
            if len(sweep.kills) == 2:
                yield Strike("driver", late(self.chance, len(self.sweeps)))
                continue
            early = whole and len(sweep.kills) < 2
            moment = draw(self.chance, self.seconds["pretrain" if early else "run"], EARLY if early else MOST)
            worker = self.chance.random() < 1 / 2 and workers < _MOST_WORKERS
            workers += worker
            yield Strike("worker" if worker else "driver", moment, self.chance.random() < 1 / 3)

    def _note(self) -> None:
        """What is known so far, for those who wait, and should this process end early."""
        sweep = self.sweeps[-1]
        print(f"{len(self.kills)} of {self.count} kills; {sweep.run.name}, {len(sweep.attempts)} attempts", flush=True)
        write_json(self.out / "so_far.json", {"kills": self.kills, "trained again": [s.trained_again() for s in self.sweeps]})

    def _plain(self, verb: str, run: Path) -> None:
        command = Command([verb, str(self.job), "--out", str(run)], self.out / f"{run.name}.log", self.temporary)
        code = command.wait()
        self.seconds[verb] = command.seconds
        if code:
            raise SystemExit(f"{run.name}: the undisturbed run ended with {code}; see {run.name}.log")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=(kills.__doc__ or "").split("\n")[0])
    parser.add_argument("--kills", type=at_least(0), default=30)
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kills"), help="a new folder")
    options = parser.parse_args()
    if options.out.exists():
        parser.error(f"--out {options.out}: exists; name a new folder")
    temporary = Path(tempfile.mkdtemp(prefix="kills-"))
    try:
        campaign = Campaign(options.out.absolute(), options.kills, options.seed, temporary)
        whole = campaign.undisturbed()
        campaign.under_kills()
        facts = _facts(campaign, whole)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_json(campaign.out / "kills.json", facts)
    _print(facts)
    return 0 if facts["sound"] else 1


def _facts(campaign: Campaign, whole: Path) -> dict[str, Any]:
    folders = {
        sweep.run.name: {
            "attempts": len(sweep.attempts),
            "kills": len(sweep.kills),
            "missed": len(sweep.missed),
            "differences": compare.differences(whole, sweep.run),
            "trained again": sweep.trained_again(),
            "failed": sweep.failed(),
            "left over": compare.leftovers(whole, sweep.run),
        }
        for sweep in campaign.sweeps
    }
    refused = damage.refusals(campaign.job, whole, campaign.out, campaign.chance)
    wrong = any(f[kind] for kind in _WRONG for f in folders.values()) or any(refused.values())
    return {
        "sound": not wrong, "seconds": campaign.seconds, "kills": campaign.kills, "folders": folders, "damage": refused,
    }  # fmt: skip


_WRONG = ("differences", "trained again", "failed")


def _print(facts: dict[str, Any]) -> None:
    console = Console(width=120)
    by_phase = Table("kill -9 of", *STAGES, "the end", "all", title="Kills by phase")
    for target in ("driver", "worker"):
        own = Counter(k["phase"] for k in facts["kills"] if k["target"] == target)
        by_phase.add_row(target, *(str(own[phase]) for phase in (*STAGES, "the end")), str(own.total()))
    console.print(by_phase)
    moments = Counter(k["kind"] for k in facts["kills"])
    console.print("moments: " + ", ".join(f"{kind} {n}" for kind, n in moments.most_common()))
    columns = ("folder", "attempts", "kills", *_WRONG, "left over")
    folders = Table(*columns, title="Against the undisturbed run")
    for name, f in facts["folders"].items():
        folders.add_row(name, str(f["attempts"]), str(f["kills"]), *(str(len(f[kind])) for kind in columns[3:]))
    console.print(folders)
    for name, f in facts["folders"].items():
        for kind in columns[3:]:
            for line in f[kind]:
                console.print(f"{name}: {kind}: {line}", highlight=False, markup=False)
    for name, wrong in facts["damage"].items():
        console.print(f"damaged segment, {name}: {'; '.join(wrong) or 'refused with its name'}", highlight=False, markup=False)


if __name__ == "__main__":
    with told():
        sys.exit(main())
