"""A stage's folder: what went in is written beside what came out, so that a stage is skipped, resumed or refused, never mixed.

`_begun.json` stands in a folder while its stage works, `_complete.json` from its end on. Both hold the stage's inputs. Nothing
else in the folder is ever removed, so that a mistaken `--out` costs nobody a file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from raytune_rec.errors import ArtifactError
from raytune_rec.storage import marker
from raytune_rec.storage.files import JSON, STORAGE, read_json
from raytune_rec.storage.fingerprint import digest, plain
from raytune_rec.storage.listing import Files

_ABSENT = object()


class Stage:
    """One stage of a run.

    Args:
        folder: belongs to this stage alone.
        name: of the stage.
        inputs: everything that its results depend on: options, fingerprints of what it reads. Nested as you like.
        format: of the stage; raised only when results change.
        free: dotted keys of `inputs` that may be raised (never lowered) in the same folder, such as `tune.trials`.
        resumes: the stage goes on from what an interrupted attempt left, and so refuses other inputs; otherwise it begins anew.
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
        if marker.complete(self.folder):
            return not self._raised(marker.MARKER)
        if self.resumes and marker.begun(self.folder):
            self._raised(marker.BEGUN)
        return False

    def begin(self) -> None:
        """Make the folder ready for work.

        Raises:
            ArtifactError: the folder holds files that no stage of ours has written, or the result of other inputs.
        """
        finished = self.done()
        assert not finished, f"{self.folder}: stage {self.name} is complete; nothing to begin"
        marked = marker.complete(self.folder) or marker.begun(self.folder)
        if not marked and STORAGE.list(self.folder, "*"):
            raise ArtifactError(
                f"{self.folder}: holds files that stage {self.name!r} did not write, and they would be overwritten; "
                "empty the folder, or use another --out folder."
            )
        marker.begin(self.folder, self._facts())

    def finish(self, facts: Mapping[str, JSON] | None = None, files: Files | None = None) -> None:
        """Declare the result complete.

        Args:
            facts: what later stages and readers want to know of it.
            files: what the stage wrote.
        """
        values = {**self._facts(), "facts": plain(facts or {}, self.name), "files": files or {}}
        marker.publish(self.folder, {**values, "sha256": digest(values)})

    def reopen(self) -> None:
        """The stage works again on a folder of its own, of whose result something is lost."""
        marker.begin(self.folder, self._facts())

    def forget(self) -> None:
        """From now on the stage is neither done nor begun. What it wrote elsewhere stays."""
        for name in (marker.MARKER, marker.BEGUN):
            STORAGE.delete(self.folder / name)

    def files(self) -> Files:
        """What the finished stage wrote."""
        return marker.files_of(self.folder)

    def facts(self) -> dict[str, JSON]:
        """What `finish` was given."""
        facts = marker.read(self.folder).get("facts")
        if not isinstance(facts, dict):
            path = self.folder / marker.MARKER
            raise ArtifactError(f"{path}: damaged, it holds no facts; delete the folder {self.folder} and run again.")
        return facts

    def _facts(self) -> dict[str, JSON]:
        return {"stage": self.name, "format": self.format, "inputs": self.inputs}

    def _raised(self, name: str) -> bool:
        """Whether a free key was raised since a marker was written; any other difference is refused."""
        path = self.folder / name
        written = read_json(path)
        if not isinstance(written, dict) or not isinstance(written.get("inputs"), dict):
            raise ArtifactError(f"{path}: damaged, it lists no inputs; delete the folder {self.folder} and run again.")
        if "sha256" in written and written["sha256"] != digest({k: v for k, v in written.items() if k != "sha256"}):
            raise ArtifactError(f"{path}: altered since it was written; delete the folder {self.folder} and run again.")
        problems, raised = [], False
        if (stage := written.get("stage")) != self.name:
            problems.append(f"{self.folder}: belongs to stage {stage!r}, not to {self.name!r}.")
        if (format := written.get("format")) != self.format:
            problems.append(f"{self.folder}: made in format {format} of stage {self.name!r}; this version has {self.format}.")
        for key, old, new in differences(written["inputs"], self.inputs):
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
