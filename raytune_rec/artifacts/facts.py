"""Facts of an artifact: a frozen dataclass on one side, JSON with a format number and a marker on the other."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from raytune_rec.artifacts.files import MARKER, read_json, write_json
from raytune_rec.components import sentence
from raytune_rec.errors import ArtifactError

F = TypeVar("F")


def open_folder(folder: Path) -> None:
    """Make a folder for writing. Its marker goes first, so that a half-written artifact never looks whole."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).unlink(missing_ok=True)


def close_folder(folder: Path, kind: str, format: int) -> None:
    """Write the marker: from now on the artifact exists."""
    write_json(folder / MARKER, {"artifact": kind, "format": format})


def read_facts(folder: Path, kind: str, form: type[F], formats: tuple[int, ...]) -> F:
    """The checked facts of `<folder>/<kind>.json`.

    Args:
        folder: of the artifact.
        kind: `backbone` or `prompt`.
        form: the dataclass.
        formats: format numbers that this version reads.

    Raises:
        ArtifactError: there is no such artifact, it is unfinished, of an unknown format, or its facts are not whole.
    """
    path = folder / f"{kind}.json"
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: there is no such folder; give the folder that holds {path.name}.")
    if not (folder / MARKER).exists():
        raise ArtifactError(
            f"{folder}: no complete {kind} (its marker {MARKER} is missing); "
            "run the job again to finish it, or copy the whole folder."
        )
    values = read_json(path)
    found = values.get("format") if isinstance(values, dict) else None
    if found not in formats:
        known = ", ".join(str(f) for f in formats)
        raise ArtifactError(
            f"{path}: format {found!r}; this version reads {known}. Use the version of raytune_rec that wrote it, or a newer one."
        )
    try:
        return TypeAdapter(form).validate_python(values)
    except ValidationError as error:
        problems = [sentence(str(path), e) for e in error.errors()]
        problems.append(f"{path}: the facts are not whole; copy the artifact anew, or export it again.")
        raise ArtifactError(problems) from None
