"""How long a small search takes to begin: from the command to its first trained epoch, beside a plain Ray Tune script.

    python -m benchmarks.start [--repeats 3]

ours    `raytune-rec run` of a made-up log: sixteen configurations of a DeepFM on each of two domains, no pre-training
plain   a script with `ray.init`, `tune.Tuner` and a training function in PyTorch, as its documentation has it, on random rows

Both are commands of their own, in turns. The first trained epoch is a word that a training process leaves in a file. The time to
the end is told too: ours trains the winners again, tests them and draws a page, and the script ends with its trials.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import tomli_w
from rich.console import Console
from rich.table import Table

from benchmarks.mistakes import at_least, told
from raytune_rec.errors import RunFailed

FIRST = "BENCHMARK_FIRST_EPOCH"
"""Variable with the file that is written after an epoch."""

_WORD = f'''
def leave_a_word():
    try:
        with open(os.environ["{FIRST}"], "x") as file:
            file.write(repr(time.time()))
    except FileExistsError:
        pass
'''
_STEPS = 40
"""More than an epoch has: 24 of `home`, and as many again that look at validation."""
_OBJECTIVE = f'''"""Binary cross-entropy that leaves a word once an epoch is over."""

import os
import time

from raytune_rec.objectives import bce

{_WORD}

class Timed(bce.BinaryCrossEntropy):
    """Counts its steps."""

    Options = bce.BinaryCrossEntropy.Options
    steps = 0

    def __call__(self, run, batch, options, step):
        self.steps += 1
        if self.steps > {_STEPS}:
            leave_a_word()
        return super().__call__(run, batch, options, step)
'''
_JOB = {
    "name": "start",
    "data": {"source": "synthetic", "options": {"interactions": {"home": 5000, "feed": 3500}}},
    "backbone": {"name": "deepfm", "options": {"width": 8, "hidden": [16, 16]}},
    "training": {"objective": "timed", "batch_size": 128, "epochs": 6},
    "methods": {"deepfm": {"strategy": "single", "space": ["training"], "baseline": True}},
    "tune": {"trials": 16},
    "evaluate": {"replicates": 1},
}
_PLAIN = f"""import os
import time

import ray
import torch
from ray import tune

{_WORD}

def train(config):
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Linear(16, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    rows, labels = torch.randn(5000, 16), torch.rand(5000, 1).round()
    for epoch in range(6):
        for i in range(0, len(rows), 128):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(model(rows[i : i + 128]), labels[i : i + 128])
            loss.backward()
            optimizer.step()
        leave_a_word()
        tune.report({{"loss": float(loss.detach())}})


ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
tuner = tune.Tuner(
    train,
    param_space={{"lr": tune.loguniform(1e-4, 1e-1)}},
    tune_config=tune.TuneConfig(num_samples=32, metric="loss", mode="min"),
    run_config=tune.RunConfig(storage_path=os.path.abspath("tune"), verbose=0),
)
tuner.fit()
"""


def measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Seconds from the command to its first trained epoch, and to its end.

    Args:
        words: of the command.
        folder: new, where it works.

    Raises:
        RunFailed: the command fails, or trains no second epoch.
    """
    folder.mkdir()
    first = folder / "first"
    environment = {**os.environ, FIRST: str(first), "PYTHONPATH": os.getcwd()}
    began = time.time()
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    ended = time.time() - began
    if done.returncode or not first.is_file():
        raise RunFailed(f"{' '.join(words)}: exit code {done.returncode}; {done.stderr.strip()[-500:]}")
    return float(first.read_text()) - began, ended


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=at_least(1), default=3)
    repeats = parser.parse_args().repeats
    table = Table("", "first epoch (s)", "from", "to", "end (s)", title="From the command to training, medians")
    with tempfile.TemporaryDirectory() as root:
        scratch = Path(root)
        (scratch / "own" / "objectives").mkdir(parents=True)
        (scratch / "own" / "objectives" / "timed.py").write_text(_OBJECTIVE)
        (scratch / "start.toml").write_text(tomli_w.dumps(_JOB | {"components": [str(scratch / "own")]}))
        (scratch / "plain.py").write_text(_PLAIN)
        commands = {
            "ours": [sys.executable, "-m", "raytune_rec", "run", str(scratch / "start.toml"), "--out"],
            "plain": [sys.executable, str(scratch / "plain.py")],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for i in range(repeats):
            for name, words in commands.items():
                folder = scratch / f"{name}{i}"
                out = [str(folder) + "-run"] if name == "ours" else []
                found[name].append(measured([*words, *out], folder))
    for name, times in found.items():
        firsts = [first for first, _ in times]
        ends = statistics.median(end for _, end in times)
        table.add_row(name, *(f"{v:.1f}" for v in (statistics.median(firsts), min(firsts), max(firsts), ends)))
    Console().print(table)


if __name__ == "__main__":
    with told():
        main()
