"""What a pack leaves on disk: a checkpoint while it trains, its result at the end. Both are complete or absent.

checkpoints/<pack>/
    state-<n>.safetensors  state.json     the checkpoint; the JSON names its tensors and their sha256, and is written last
    lane-<i>.safetensors                  best weights of a lane, where they are kept
    result.json                           written last of all
    error.json                            why the last attempt stopped
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.config import Job
from raytune_rec.errors import ArtifactError
from raytune_rec.schema.work import LaneResult, Pack
from raytune_rec.storage.files import STORAGE, read_json, write_json, write_text
from raytune_rec.storage.fingerprint import fingerprint
from raytune_rec.storage.listing import remove_files

FORMAT = 4
"""Raised when the results of a pack change."""

State = tuple[dict[str, Tensor], dict[str, Any]]


@dataclass(frozen=True)
class PackFolder:
    """The folder of one pack of one run.

    Args:
        path: of the folder.
        key: fingerprint of what decides the pack's results; files of another key are not ours and count as absent.
        lanes: fingerprint of what decides each lane's own: a lane that goes on in another pack is known by it.
    """

    path: Path
    key: str
    lanes: tuple[str, ...] = ()

    @classmethod
    def of(cls, run_folder: Path, job: Job, pack: Pack) -> PackFolder:
        """The folder of a pack. How packs are scheduled does not enter its key."""
        other = {"name", "title", "tune", "evaluate", "spaces", "components"}
        decides = job.model_dump(exclude=other, mode="json", by_alias=True)
        lanes = tuple(fingerprint({"job": decides, "method": pack.method, "lane": lane}) for lane in pack.lanes)
        return cls(folder_of(run_folder, pack.name), fingerprint({"format": FORMAT, "job": decides, "pack": pack}), lanes)

    def results(self) -> list[LaneResult] | None:
        """The lanes' results in the pack's order; None while there are none."""
        stored = self._read("result.json")
        return None if stored is None else [_result(values) for values in stored["lanes"]]

    def save_results(self, results: Sequence[LaneResult], best: Sequence[Mapping[str, Tensor]] = ()) -> None:
        """Store results, and the lanes' best weights where they are given; the checkpoint goes, unless a lane is paused."""
        sha256 = [weights.write(self.path / f"lane-{i}.safetensors", tensors) for i, tensors in enumerate(best)]
        write_json(self.path / "result.json", {"key": self.key, "lanes": [asdict(r) for r in results], "weights": sha256})
        self.clear_error()
        if all(r.status != "paused" for r in results):
            for path in STORAGE.list(self.path, "state.json", "state-*.safetensors"):
                STORAGE.delete(path)

    def weights(self, i: int) -> dict[str, Tensor]:
        """Best weights of lane i.

        Raises:
            ArtifactError: they were not kept, or are damaged.
        """
        stored = self._read("result.json") or {"weights": []}
        if i >= len(stored["weights"]):
            raise ArtifactError(f"{self.path}: holds no weights of lane {i}; run the job again.")
        return weights.read(self.path / f"lane-{i}.safetensors", stored["weights"][i])

    def state(self) -> State | None:
        """The last checkpoint. A damaged one counts as none: the pack starts anew, with the same result."""
        return self._state(self._read("state.json"))

    def save_state(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], number: int) -> None:
        """Replace the checkpoint.

        Args:
            tensors, facts: the trainer's state: see `Trainer.state`.
            number: grows from one checkpoint to the next.
        """
        name = f"state-{number}.safetensors"
        sha256 = weights.write(self.path / name, tensors)
        # Not `write_json`: a state may hold NaN or infinity (a failed lane), and must come back as it was.
        known = {"key": self.key, "pack": self.path.name, "lanes": self.lanes}
        state = {**known, "tensors": name, "sha256": sha256, "facts": {**facts, "number": number}}
        write_text(self.path / "state.json", json.dumps(state))
        for path in STORAGE.list(self.path, "state-*.safetensors"):
            if path.name != name:
                STORAGE.delete(path)

    def taken_over(self, after: Sequence[tuple[str, int]]) -> State | None:
        """The states of the pack's lanes where other packs left them paused; None if one is missing, damaged or of another lane.

        Args:
            after: for each lane the pack and its place in it.
        """
        left: dict[str, State | None] = {}
        tensors: dict[str, Tensor] = {}
        facts = []
        for i, (name, place) in enumerate(after):
            if name not in left:
                left[name] = self._other(name)
            if (state := left[name]) is None or state[1]["keys"][place] != self.lanes[i]:
                return None
            tensors |= {f"{i}.{n.partition('.')[2]}": t for n, t in state[0].items() if n.startswith(f"{place}.")}
            facts.append(state[1]["lanes"][place])
        return (tensors, {"lanes": facts, "number": 0}) if after else None

    def _other(self, name: str) -> State | None:
        try:
            held = read_json(self.path.parent / _inside(name) / "state.json", finite=False)
        except ArtifactError:
            return None
        state = self._state(held)
        return None if state is None else (state[0], {**state[1], "keys": held["lanes"]})

    def _state(self, held: dict[str, Any] | None) -> State | None:
        if held is None:
            return None
        try:
            path = self.path.parent / _inside(held["pack"]) / _inside(held["tensors"])
            return weights.read(path, held["sha256"]), held["facts"]
        except ArtifactError:
            return None

    def error(self) -> dict[str, Any] | None:
        """Why the last attempt stopped, and how many did since the pack was handed out (`times`); None where it left no word."""
        stored = self._read("error.json")
        return stored if stored and stored["problems"] else None

    def save_error(self, kind: str, problems: Sequence[str]) -> None:
        self._write_error(kind, problems, self._times() + 1)

    def begin(self) -> None:
        """Another attempt: of those before it their number is left."""
        if times := self._times():
            self._write_error("", [], times)

    def clear_error(self) -> None:
        STORAGE.delete(self.path / "error.json")

    def _times(self) -> int:
        return int((self._read("error.json") or {}).get("times", 0))

    def _write_error(self, kind: str, problems: Sequence[str], times: int) -> None:
        write_json(self.path / "error.json", {"key": self.key, "kind": kind, "problems": list(problems), "times": times})

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            values = read_json(self.path / name, finite=False)
        except ArtifactError:
            return None
        return values if isinstance(values, dict) and values.get("key") == self.key else None


def folder_of(run_folder: Path, pack: str) -> Path:
    """The folder of a pack.

    Raises:
        ArtifactError: a damaged journal or state names what is no folder of ours.
    """
    return Path(run_folder) / "checkpoints" / _inside(pack)


def remove(run_folder: Path, pack: str) -> None:
    """Delete what a pack wrote that is needed no more."""
    names = ("state-*.safetensors", "lane-*.safetensors", "state.json", "result.json", "error.json")
    remove_files(folder_of(run_folder, pack), *names, *(f".{name}.*.tmp" for name in names))


def _inside(name: str) -> str:
    """A name of a file or folder that was read from one."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.@+-]*", name, re.ASCII):
        raise ArtifactError(f"checkpoints: {name!r} is no name of a pack or of its files; copy the run anew, or start a new one.")
    return name


def _result(values: Mapping[str, Any]) -> LaneResult:
    """JSON has no NaN: null stands for it."""
    numbers = {name: tuple(_nan(v) for v in values[name]) for name in ("curve", "losses")}
    return LaneResult(**{**values, **numbers, "best": _nan(values["best"])})


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
