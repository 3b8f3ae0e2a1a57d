"""`python -m benchmarks.faults`: see the package's own words."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import faults
from benchmarks.faults.cluster import Nodes, set_out
from benchmarks.faults.fault import Subject
from benchmarks.faults.injection import Injection
from benchmarks.faults.inside import FAULT
from benchmarks.faults.ours import OURS
from benchmarks.faults.plain.classes import SECONDS
from benchmarks.faults.plain.subject import PLAIN
from benchmarks.faults.table import summary, table
from benchmarks.kills import job, notes
from benchmarks.kills.processes import Command
from benchmarks.kills.sweep import STAGES
from benchmarks.mistakes import at_least, told
from raytune_rec.storage.files import read_json, write_json

_DRAWS = 5
"""Of an injection, at most: a fault may be drawn for a moment when the run has ended."""
_STARTS = {"prepared": "prepare", "pretrained": "pretrain", "finished": "run"}
"""Folder -> verb that makes it of the one before."""


class Campaign:
    """All injections below one folder; those that are there are not made again.

    Args:
        out: takes everything.
        seed: of all draws.
        temporary: for Ray.
    """

    def __init__(self, out: Path, seed: int, temporary: Path) -> None:
        self.out, self.seed, self.temporary = out, seed, temporary
        (out / "logs").mkdir(parents=True, exist_ok=True)
        set_out(temporary)
        self.nodes = Nodes()
        self.nodes.whole()
        own = job.tiny()
        own["tune"]["concurrent"] = 2
        self.job = job.write(own, out / "job.toml")
        self.seconds, self.whole, self.price = self._undisturbed()

    def make(self, subject: Subject, kind: str, number: int) -> None:
        name, of = f"{subject.prefix}{kind}", subject.classes[kind]
        path = self.out / "injections" / f"{name}-{number}.json"
        if path.exists():
            return
        chance = random.Random(f"{self.seed}/{name}/{number}")
        for _ in range(_DRAWS):
            self.nodes.whole()
            injection = Injection(subject, of, self.out / f"{name}-{number}", self.job, self.nodes, self.temporary)
            if (facts := injection.made(chance, self.seconds)) is not None:
                break
        else:
            print(f"{name} {number}: the run ended {_DRAWS} times before the fault came", flush=True)
            return
        write_json(path, {"class": name, "number": number, **facts})
        state = "as undisturbed" if of.same else "no result lost or doubled"
        print(f"{name} {number}: {'; '.join(facts['wrong']) or state}, {facts['seconds']:.0f} s", flush=True)
        if facts["completed"] and not facts["wrong"]:
            shutil.rmtree(injection.run, ignore_errors=True)
        shutil.rmtree(injection.state, ignore_errors=True)

    def facts(self) -> dict[str, Any]:
        """What all injections come to so far."""
        made = [read_json(path) for path in sorted((self.out / "injections").glob("*.json"))]
        plain = [i for i in made if i["class"].startswith(PLAIN.prefix)]
        ours = [i for i in made if i not in plain]
        classes = {}
        for kind in (*{**OURS.classes, **PLAIN.classes}, "all"):
            for subject, of in ((OURS, ours), (PLAIN, plain)):
                name = f"{subject.prefix}{kind}"
                if own := [i for i in of if (i["struck"] if kind == "all" else i["class"] == name)]:
                    classes[name] = summary(own, self.whole[subject.finished])
        sound = bool(made) and all(i["completed"] and not (i["wrong"] or i["lost"] or i["twice"]) for i in ours)
        return {"classes": classes, "injections": made, "price": self.price, "sound": sound}

    def _undisturbed(self) -> tuple[dict[str, float], dict[str, int], float]:
        """Seconds of each stage, and of the yardstick; lanes times epochs that each trains; and the share of the time that goes
        into writing what a run goes on from."""
        path = self.out / "undisturbed.json"
        if not path.exists():
            before: Path | None = None
            for name, verb in _STARTS.items():
                shutil.rmtree(self.out / name, ignore_errors=True)
                if before is not None:
                    shutil.copytree(before, self.out / name)
                self._command(OURS, verb, self.out / name, {})
                before = self.out / name
            write_json(path, {"seconds": self._stages(), "whole": self._epochs("finished"), "price": self._writing()})
        ours, plain = read_json(path), self._yardstick()
        seconds = {**ours["seconds"], SECONDS: plain["seconds"]}
        return seconds, {OURS.finished: ours["whole"], PLAIN.finished: plain["whole"]}, ours["price"]

    def _yardstick(self) -> dict[str, Any]:
        """Seconds of the undisturbed script of Ray Tune alone, and its trials times epochs."""
        path, run = self.out / "yardstick.json", self.out / PLAIN.finished
        if not path.exists():
            shutil.rmtree(run, ignore_errors=True)
            shutil.copytree(self.out / "pretrained", run)
            seconds = self._command(PLAIN, "run", run, {})
            write_json(path, {"seconds": seconds, "whole": self._epochs(run.name)})
        return dict(read_json(path))

    def _command(self, subject: Subject, verb: str, run: Path, fault: Mapping[str, Any]) -> float:
        """Give it once, undisturbed; the seconds that it takes."""
        (self.out / f"{run.name}.jsonl").unlink(missing_ok=True)  # of one that was broken off
        variables = {
            **self.nodes.variables,
            notes.NOTES: str(self.out / f"{run.name}.jsonl"),
            notes.RUN: str(run),
            FAULT: json.dumps(fault),
        }
        words = [verb, str(self.job), "--out", str(run)]
        command = Command(words, self.out / "logs" / f"{run.name}.log", self.temporary, variables, subject.module)
        code, seconds = command.wait(), command.seconds
        if code:
            raise SystemExit(f"{run.name}: the undisturbed run ended with {code}; see logs/{run.name}.log")
        return seconds

    def _stages(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for stage in STAGES:
            folder = next(name for name in _STARTS if (self.out / name / "stages" / stage / "_complete.json").exists())
            log = (self.out / "logs" / f"{folder}.log").read_text()
            found[stage] = float(log.partition(f"{stage}: done in ")[2].split()[0])
        return found

    def _epochs(self, name: str) -> int:
        return sum(note["trained"] for note in notes.lines(self.out / f"{name}.jsonl") if "epoch" in note)

    def _writing(self) -> float:
        """Of a run with checkpoints as often as the product makes them."""
        run, state = self.out / "timed", self.out / "timed.state"
        shutil.copytree(self.out / "pretrained", run)
        state.mkdir()
        seconds = self._command(OURS, "run", run, {"kind": "timed", "state": str(state)})
        written = sum(float(line) for line in (state / "seconds").read_text().splitlines())
        for path in (run, state):
            shutil.rmtree(path)
        return written / seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(faults.__doc__ or "").split("\n")[0])
    parser.add_argument("--plain", action="store_true", help="strike the yardstick, Ray Tune alone, instead")
    parser.add_argument("--count", type=at_least(1), default=10, help="injections of each class")
    parser.add_argument("--only", nargs="+", choices=[*{**OURS.classes, **PLAIN.classes}], help="classes")
    parser.add_argument("--seed", type=at_least(0), default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/faults"), help="the folder; the same one goes on")
    options = parser.parse_args()
    subject: Subject = PLAIN if options.plain else OURS
    if unknown := [kind for kind in options.only or () if kind not in subject.classes]:
        which = f"{'with' if options.plain else 'without'} --plain there are {', '.join(subject.classes)}"
        parser.error(f"--only {' '.join(unknown)}: {which}")
    temporary = Path(tempfile.mkdtemp(prefix="faults-"))
    campaign = None
    try:
        campaign = Campaign(options.out.absolute(), options.seed, temporary)
        for number in range(options.count):
            for kind in options.only or subject.classes:
                campaign.make(subject, kind, number)
    finally:
        if campaign is not None:
            campaign.nodes.stop()
        shutil.rmtree(temporary, ignore_errors=True)
    facts = campaign.facts()
    write_json(campaign.out / "faults.json", facts)
    console = Console(width=150)
    console.print(table(facts["classes"], "Faults"))
    console.print(f"without faults, writing what a run goes on from takes {facts['price']:.1%} of its time")
    for made in facts["injections"]:
        for line in made["wrong"]:
            console.print(f"{made['class']} {made['number']}: {line}", highlight=False, markup=False)
    return 0 if facts["sound"] else 1


if __name__ == "__main__":
    with told():
        sys.exit(main())
