"""`python -m benchmarks.fuzz`: see the package's own words."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import optuna

from benchmarks import fuzz
from benchmarks.fuzz import folders
from benchmarks.fuzz.damage import damage
from benchmarks.fuzz.folders import Files
from benchmarks.mistakes import at_least, told
from raytune_rec import components
from raytune_rec.errors import RunFailed, UserError

_FAMILIES: tuple[components.Family, ...] = ("backbones", "prompts", "objectives")
_EVERY = 500
"""Cases between two words to the state file."""
_EXECUTED = ("exec", "compile", "subprocess.Popen", "os.system", "pickle.find_class", "os.exec", "os.posix_spawn")
"""Events of the interpreter that reading must not raise; importing our own components raises some, before the cases begin."""


class Cases:
    """Cases on one scratch folder.

    Args:
        scratch: a folder in memory, if there is one.
    """

    def __init__(self, scratch: Path) -> None:
        self.sound = folders.make(scratch / "sound")
        self.folder = scratch / "case"
        self.watching, self.executed = False, list[str]()
        self._lay(self.sound)
        for part in ("prompt", "stage", "journal"):
            folders.read(self.folder, part)
        for family in _FAMILIES:
            for name in components.names(family):
                components.component(family, name)  # our own modules, which a case may name, are imported before it is listened
        sys.addaudithook(self._heard)

    def run(self, number: int) -> tuple[str, str]:
        """(how the case ended, what was wrong with that); empty where nothing was."""
        part, files = damage(self.sound, random.Random(number))
        shutil.rmtree(self.folder / part)
        self._lay(files)
        self.executed = []
        try:
            self.watching = True
            folders.read(self.folder, part)
            ended, wrong = f"{part}: read", ""
        except UserError as error:
            ended, wrong = f"{part}: {type(error).__name__}", ""
        except RunFailed as error:
            ended, wrong = f"{part}: RunFailed", f"RunFailed {error}"
        except BaseException as error:  # whatever it is, it is what this looks for
            ended, wrong = f"{part}: {type(error).__name__}", f"{type(error).__name__} {error}"[:300]
        finally:
            self.watching = False
        shutil.rmtree(self.folder / part, ignore_errors=True)
        self._lay({name: content for name, content in self.sound.items() if name.startswith(part + "/")})
        return ended, wrong or "; ".join(self.executed)

    def _lay(self, files: Files) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for part in {name.partition("/")[0] for name in self.sound}:
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    def _heard(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.watching and event in _EXECUTED:
            self.executed.append(f"{event} {str(arguments)[:100]}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=(fuzz.__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=at_least(1), default=100_000, help="cases of all parts")
    parser.add_argument("--part", default="1/1", help="k/n: the cases k-1, k-1+n, ...")
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"), help="holds the state of each part")
    options = parser.parse_args()
    k, n = (int(number) for number in options.part.split("/"))
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = options.out / f"{k}-of-{n}.json"
    state = json.loads(path.read_text()) if path.exists() else {"next": k - 1, "ended": {}, "wrong": {}}
    ended, begun = Counter(state["ended"]), time.perf_counter()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory if memory.is_dir() else None) as scratch:
        cases = Cases(Path(scratch))
        numbers = range(state["next"], options.count, n)
        for done, number in enumerate(numbers, 1):
            how, wrong = cases.run(number)
            ended[how] += 1
            if wrong:
                state["wrong"][str(number)] = f"{how.partition(':')[0]}: {wrong}"
            if done % _EVERY == 0 or number == numbers[-1]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps({**state, "next": number + n, "ended": dict(sorted(ended.items()))}, indent=2))
                print(f"{ended.total()} cases, {done / (time.perf_counter() - begun):.0f} a second", flush=True)
    print(json.dumps(dict(sorted(ended.items())), indent=2), *(f"case {n}: {w}" for n, w in state["wrong"].items()), sep="\n")
    return 1 if state["wrong"] else 0


if __name__ == "__main__":
    with told():
        sys.exit(main())
