"""A run folder that some machine of a cluster does not see is refused before anything is done there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from raytune_rec import config
from raytune_rec.errors import MachineError
from raytune_rec.storage import claim
from raytune_rec.storage.places import located
from raytune_rec.tuning.run import sharing
from tests.tuning import fake

_HEAD, _WORKER = "head (10.0.0.1)", "worker (10.0.0.2)"


class _Machines:
    """Two machines, of which the second mounts other disks: what lies below `unshared` is elsewhere there."""

    def __init__(self, unshared: Path, elsewhere: Path) -> None:
        self._unshared, self._elsewhere = unshared, elsewhere

    def _there(self, path: Path) -> Path:
        return self._elsewhere / path.relative_to(self._unshared) if path.is_relative_to(self._unshared) else path

    def __call__(self, file: Path, word: str, others: Sequence[Path]) -> Iterator[tuple[str, dict[str, str]]]:
        yield _HEAD, sharing.looked(file, word, others)
        found = sharing.looked(self._there(file), word, [self._there(path) for path in others])
        yield _WORKER, {path.replace(str(self._elsewhere), str(self._unshared)): reason for path, reason in found.items()}


def _job(*components: Path) -> config.Job:
    return fake.job().model_copy(update={"components": [str(path) for path in components]})


def test_what_one_machine_does_not_see_is_refused_with_a_remedy(tmp_path: Path) -> None:
    disk, shared, own = tmp_path / "disk", tmp_path / "shared", tmp_path / "disk" / "own"
    own.mkdir(parents=True)
    machines = _Machines(disk, tmp_path / "other")
    with pytest.raises(MachineError) as raised:
        sharing.check(disk / "runs" / "x", _job(own), machines)
    folder, components = raised.value.problems
    assert folder.startswith(f"{disk / 'runs' / 'x'}: the machines of the cluster do not share it, {_WORKER} does not see")
    assert "No such file or directory" in folder and "name a folder that all machines mount under this path, or a URI" in folder
    assert components.startswith(f"{own}: ") and _HEAD not in str(raised.value)
    assert sorted(tmp_path.rglob("*")) == [disk, own], "nothing of the question stays"
    sharing.check(shared / "runs" / "x", _job(), machines)  # the remedies
    sharing.check(located("memory://bucket/shared-run"), _job(), machines)


def test_a_file_of_the_same_name_is_not_taken_for_the_folder(tmp_path: Path) -> None:
    (tmp_path / "word").write_text("of another cluster")
    assert sharing.looked(tmp_path / "word", "mine", []) == {str(tmp_path): "another file lies there"}
    assert sharing.looked(tmp_path / "word", "of another cluster", []) == {}


def test_an_interruption_while_it_asks_leaves_a_folder_that_a_run_takes(tmp_path: Path) -> None:
    def killed(file: Path, word: str, others: Sequence[Path]) -> Iterator[tuple[str, dict[str, str]]]:
        kept.append((file, file.read_bytes()))
        return iter(())

    kept: list[tuple[Path, bytes]] = []
    sharing.check(tmp_path, _job(), killed)
    for file, content in kept:
        file.write_bytes(content)
    claim.check(tmp_path)


def test_one_machine_shares_with_itself(tmp_path: Path) -> None:
    sharing.check(tmp_path / "new", _job())
    assert not (tmp_path / "new").exists()


class _Tasks:
    """Ray's tasks on two machines, of which the second cannot run one for so many times."""

    def __init__(self, fails: int) -> None:
        self.fails, self.asked = fails, list[str]()

    def remote(self, *args: Any, **options: Any) -> Any:
        return lambda function: self

    def options(self, scheduling_strategy: Any) -> Any:
        return SimpleNamespace(remote=lambda *args: (scheduling_strategy.node_id[0], len(self.asked)))

    def get(self, answer: tuple[str, int]) -> dict[str, str]:
        self.asked.append(answer[0])
        if answer[0] == "b" and self.asked.count("b") <= self.fails:
            raise ray.exceptions.RayTaskError("looked", "No module named 'raytune_rec.tuning'", ModuleNotFoundError())
        return {}


@pytest.mark.parametrize("fails", [0, 2, 100])
def test_a_machine_that_unpacks_the_job_at_this_moment_is_asked_again(
    fails: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others are asked once, and one that cannot run the package at all is refused."""
    tasks, machines = _Tasks(fails), [{"NodeID": n * 56, "NodeManagerHostname": n, "NodeManagerAddress": "::1"} for n in "ab"]
    monkeypatch.setattr(sharing, "_machines", lambda: machines)
    monkeypatch.setattr(ray, "remote", tasks.remote)
    monkeypatch.setattr(ray, "wait", lambda answers, **how: (answers, []))
    monkeypatch.setattr(ray, "get", tasks.get)
    if fails < 100:
        sharing.check(tmp_path / "run", _job())
        assert tasks.asked == ["a", *"b" * (fails + 1)]
        return
    with pytest.raises(MachineError, match=r"b \(::1\): does not run raytune_rec \(.*No module named 'raytune_rec.tuning'"):
        sharing.check(tmp_path / "run", _job())
    assert tasks.asked.count("a") == 1
