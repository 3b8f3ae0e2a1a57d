"""A stage's folder: what went in is written beside what came out, so that a stage is skipped, resumed or refused, never mixed.

`_begun.json` stands in a folder while its stage works, `_complete.json` from its end on. Both hold the stage's inputs. Only a
folder that carries one of them is ever emptied, so that a mistaken `--out` costs nobody a file.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from raytune_rec.artifacts.files import JSON, MARKER, read_json, write_json
from raytune_rec.artifacts.fingerprint import plain
from raytune_rec.errors import ArtifactError

BEGUN = "_begun.json"
_ABSENT = object()


class Stage:
    """One stage of a run.

    Args:
        folder: belongs to this stage alone.
        name: of the stage.
        inputs: everything that its results depend on: options, fingerprints of what it reads. Nested as you like.
        format: of the stage; raised only when results change.
        free: dotted keys of `inputs` that may be raised (never lowered) in the same folder, such as `tune.trials`.
        resumes: the stage goes on from what an interrupted attempt left; otherwise leftovers are removed.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        inputs: Mapping[str, JSON],
        format: int,
        *,
        free: Sequence[str] = (),
        resumes: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.name = name
        self.inputs = plain(inputs, name)
        self.format = format
        self.free = frozenset(free)
        self.resumes = resumes

    def done(self) -> bool:
        """Whether the folder holds the finished result of these inputs. False too where a free key was raised.

        Raises:
            ArtifactError: it holds, or a resumable attempt began, something else; every difference is listed.
        """
        if (marker := self.folder / MARKER).exists():
            return not self._raised(read_json(marker), marker)
        if self.resumes and (begun := self.folder / BEGUN).exists():
            self._raised(read_json(begun), begun)
        return False

    def begin(self) -> None:
        """Make the folder ready for work: empty, unless the stage resumes.

        Raises:
            ArtifactError: the folder holds files that no stage of ours has written, or the result of other inputs.
        """
        finished = self.done()
        assert not finished, f"{self.folder}: stage {self.name} is complete; nothing to begin"
        ours = (self.folder / BEGUN).exists() or (self.folder / MARKER).exists()
        if not ours and self.folder.exists() and any(self.folder.iterdir()):
            raise ArtifactError(
                f"{self.folder}: holds files that stage {self.name!r} did not write, and they would be overwritten; "
                "empty the folder, or use another --out folder."
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / BEGUN, self._facts())  # before anything is removed: an interruption here leaves a folder of ours
        (self.folder / MARKER).unlink(missing_ok=True)
        if not self.resumes:
            self._empty()

    def finish(self, facts: Mapping[str, JSON] | None = None) -> None:
        """Declare the result complete.

        Args:
            facts: what later stages and readers want to know of it.
        """
        write_json(self.folder / MARKER, {**self._facts(), "facts": plain(facts or {}, self.name)})
        (self.folder / BEGUN).unlink(missing_ok=True)

    def facts(self) -> dict[str, JSON]:
        """What `finish` was given."""
        found: dict[str, JSON] = read_json(self.folder / MARKER).get("facts", {})
        return found

    def _facts(self) -> dict[str, JSON]:
        return {"stage": self.name, "format": self.format, "inputs": self.inputs}

    def _empty(self) -> None:
        for path in self.folder.iterdir():
            if path.name == BEGUN:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _raised(self, marker: JSON, path: Path) -> bool:
        """Whether a free key was raised; any other difference is refused."""
        if not isinstance(marker, dict) or not isinstance(marker.get("inputs"), dict):
            raise ArtifactError(f"{path}: damaged, it lists no inputs; delete the folder {self.folder} and run again.")
        problems, raised = [], False
        if marker.get("stage") != self.name:
            problems.append(f"{self.folder}: belongs to stage {marker.get('stage')!r}, not to {self.name!r}.")
        if marker.get("format") != self.format:
            found = marker.get("format")
            problems.append(f"{self.folder}: made in format {found} of stage {self.name!r}; this version has {self.format}.")
        for key, old, new in differences(marker["inputs"], self.inputs):
            if key in self.free and _number(old) and _number(new) and new > old:
                raised = True
                continue
            rule = " (it may be raised, not lowered)" if key in self.free else ""
            change = f"was {_show(old)} when {self.name!r} ran there, and is {_show(new)} now{rule}"
            problems.append(f"{self.folder}: {key} {change}.")
        if problems:
            raise ArtifactError([*problems, "Use another --out folder, or go back to what it was made with."])
        return raised


def differences(old: JSON, new: JSON, key: str = "") -> Iterator[tuple[str, JSON, JSON]]:
    """(dotted key, old value, new value) for everything that differs between two trees of plain values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            dotted = f"{key}.{name}" if key else name
            yield from differences(old.get(name, _ABSENT), new.get(name, _ABSENT), dotted)
    elif not _same(old, new):
        yield key, old, new


def _same(old: JSON, new: JSON) -> bool:
    """1 and 1.0 in a TOML file mean the same; 1 and true do not."""
    return old == new and (type(old) is type(new) or (_number(old) and _number(new)))


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _show(value: JSON) -> str:
    return "not there" if value is _ABSENT else repr(value)
