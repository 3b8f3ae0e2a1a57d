"""What of a job travels to a cluster: the job with every default filled in, and the code. Data do not: they lie where all
machines reach them.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import raytune_rec
from raytune_rec.components import files_of
from raytune_rec.config import Job
from raytune_rec.job import shipped
from raytune_rec.job.data import UNIGRAM, WORDS
from raytune_rec.pipeline import job_text
from raytune_rec.storage.files import STORAGE, scratch
from raytune_rec.storage.places import address, located

JOB = "job.toml"
"""The job in the package."""
PYTHON = "raytune_rec/submission/python.sh"
"""In the package: runs the Python of Ray's workers."""
_FIRST = (1980, 1, 1, 0, 0, 0)
"""The time of every file, so that the same content is the same package."""
_PATHS = {"path", "files", "train", "valid", "test", "vectors", "from", "known", "winners_of", "warm_start"}
"""Options of data, pre-trainings and the search that name files, whatever their values look like."""
_MODELS = {"tokenizer", "encoder", "weights"}
"""Options that name a model on the hub, unless a folder of that name is there."""


@contextmanager
def packed(job: Job) -> Iterator[Path]:
    """A zip file with a job and the code that runs it, while the block runs. The same job and code make the same bytes."""
    own = {f"components/{number}": files_of(Path(folder)) for number, folder in enumerate(job.components)}
    code = {"raytune_rec": Path(raytune_rec.__file__).parent, **{n: shipped.folder(n) for n in ("jobs", "search_spaces")}}
    with scratch() as folder, zipfile.ZipFile(folder / "package.zip", "w") as package:
        _add(package, JOB, job_text(job.model_copy(update={"components": list(own)})).encode())
        brought = [(f"{folder}/{name}", file) for folder, files in own.items() for name, file in files.items()]
        for name, file in (*_files(code), *brought):
            _add(package, name, STORAGE.get(file))
        package.close()
        yield folder / "package.zip"


def left_behind(job: Job) -> list[str]:
    """Sentences on options that name files of this machine alone."""
    return [
        f"{key} = {text!r}: is relative to a folder of this machine, and no data travel with a job; name a URI "
        "(s3://bucket/log.csv), or an absolute path that all machines of the cluster share."
        for key, text in _texts("", job.model_dump(mode="json", by_alias=True, exclude={"components"}))
        if _names_files(key, text) and not travels(text)
    ]


def travels(path: str) -> bool:
    """Whether a path means the same on another machine, provided that it is there."""
    return os.path.isabs(path) or path.startswith("~") or address(located(path)) is not None


def _files(folders: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """(Name in the package, file) of what some folders hold, not modules alone: the page of a report has a style and a script.

    Args:
        folders: name in the package -> folder.
    """
    for name, folder in folders.items():
        for file in STORAGE.list(folder, "**/*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield f"{name}/{file.relative_to(folder).as_posix()}", file


def _add(package: zipfile.ZipFile, name: str, content: bytes) -> None:
    package.writestr(zipfile.ZipInfo(name, _FIRST), content, zipfile.ZIP_DEFLATED)


def _texts(above: str, value: Any) -> Iterator[tuple[str, str]]:
    """(Dotted key, text) of all texts; parts of a list have its key."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _texts(f"{above}.{key}" if above else key, part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(above, part)
    elif isinstance(value, str) and value:
        yield above, value


def _names_files(key: str, text: str) -> bool:
    """By the name of the option, or because it may be a path and something lies there."""
    section, _, option = key.rpartition(".")
    if option in _PATHS and section.partition(".")[0] in ("data", "pretrainings", "tune"):
        return True
    if option in _MODELS:
        return text not in (WORDS, UNIGRAM) and os.path.exists(text)
    return ("/" in text or "." in text) and os.path.exists(text)
