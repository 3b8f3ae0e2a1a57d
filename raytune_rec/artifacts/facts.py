"""Facts of an artifact: a frozen dataclass on one side, JSON with a format number and a marker on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from raytune_rec.components import sentence
from raytune_rec.errors import ArtifactError
from raytune_rec.storage import marker
from raytune_rec.storage.files import STORAGE, json_text, read_json, write_text
from raytune_rec.storage.fingerprint import file_sha256
from raytune_rec.storage.marker import MARKER

F = TypeVar("F")
Renewed = Callable[[Mapping[str, Any]], dict[str, Any]]
_MOST, _LONGEST = 10, 500
"""Problems of damaged facts that are told, and characters of each."""


def open_folder(folder: Path) -> None:
    """Make a folder for writing. Its marker goes first, so that a half-written artifact never looks whole."""
    STORAGE.make_folder(folder)
    marker.withdraw(folder)


def close_folder(folder: Path, kind: str, format: int) -> None:
    """Write the marker, with the sha256 of the facts: from now on the artifact exists."""
    marker.publish(folder, {"artifact": kind, "format": format, "sha256": file_sha256(folder / f"{kind}.json")})


def replace_facts(folder: Path, kind: str, format: int, facts: Any) -> None:
    """Put other facts into a whole artifact. It is whole at any moment, for who reads it meanwhile and after an interruption:
    until the new ones stand its marker knows the sha256 of both.
    """
    path, text = folder / f"{kind}.json", json_text(facts)
    new = {"artifact": kind, "format": format, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    marker.publish(folder, {**new, "before": file_sha256(path)})
    write_text(path, text)
    marker.publish(folder, new)


def read_facts(
    folder: Path, kind: str, form: type[F], formats: tuple[int, ...], renamed: Mapping[str, str], renewed: Renewed = dict
) -> F:
    """The checked facts of `<folder>/<kind>.json`.

    Args:
        folder: of the artifact.
        kind: `backbone` or `prompt`.
        form: the dataclass.
        formats: format numbers that this version reads.
        renamed: keys of format 1 -> their names now.
        renewed: makes of the values of any format those of the last.

    Raises:
        ArtifactError: there is no such artifact, it is unfinished, of an unknown format, or its facts are not whole.
    """
    path = folder / f"{kind}.json"
    STORAGE.fetch(folder)
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: there is no such folder; give the folder that holds {path.name}.")
    if not marker.complete(folder):
        raise ArtifactError(
            f"{folder}: no complete {kind} (its marker {MARKER} is missing); "
            "run the job again to finish it, or copy the whole folder."
        )
    values = read_json(path)
    version = values.get("format") if isinstance(values, dict) else None
    if version not in formats:
        known = ", ".join(str(f) for f in formats)
        raise ArtifactError(
            f"{path}: format {version!r}; this version reads {known}. "
            "Use the version of raytune_rec that wrote it, or a newer one."
        )
    if version == 1:
        values = {renamed.get(key, key): value for key, value in values.items()}
    try:
        facts = _adapter(form).validate_python(renewed(values))  # type: ignore[arg-type]  # a class is hashable
    except ValidationError as error:
        problems = [sentence(str(path), e)[:_LONGEST] for e in error.errors()[:_MOST]]
        problems.append(f"{path}: the facts are not whole; copy the artifact anew, or export it again.")
        raise ArtifactError(problems) from None
    _check_marker(folder / MARKER, kind, path)
    return facts


@lru_cache
def _adapter(form: type[F]) -> TypeAdapter[F]:
    """Once for each form: it evaluates the annotations."""
    return TypeAdapter(form)


def _check_marker(place: Path, kind: str, path: Path) -> None:
    """An artifact of 0.1 has no hash of its facts in its marker."""
    held = read_json(place)
    if not isinstance(held, dict) or held.get("artifact") != kind:
        raise ArtifactError(f"{place}: damaged, it is not the marker of a {kind}; copy the artifact anew, or export it again.")
    sha256 = file_sha256(path)
    if sha256 not in (held.get("sha256", sha256), held.get("before")):
        raise ArtifactError(
            f"{path}: its sha256 is {sha256}, the marker beside it says {str(held['sha256'])[:64]}; the facts were altered. "
            "Copy the artifact anew, or export it again."
        )
