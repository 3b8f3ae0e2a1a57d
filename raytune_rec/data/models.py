"""Files of a language model: in a folder, or of a model on the hub of Hugging Face."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from raytune_rec.errors import DataError
from raytune_rec.storage.files import at_hand
from raytune_rec.storage.places import located


class NoSuchFile(DataError):
    """A model is there, and has no file of a name."""


_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")


def package(name: str, wanted: str, otherwise: str = "") -> Any:
    """A package of the extra text.

    Args:
        wanted: what needs it, at the beginning of a sentence. otherwise: what would do instead, at its end.

    Raises:
        DataError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise DataError(f"{wanted} needs the package {name}, which is not installed; `pip install {name}`{otherwise}.") from None


def file_of_model(model: str, name: str, where: str) -> Path:
    """A file of a model.

    Args:
        model: a folder, or, where there is none of this name, that of a model on the hub, whose files are kept by the package
            huggingface_hub. name: of the file, in it or below it. where: of the option that says so, for a refusal.

    Raises:
        NoSuchFile: the model has no such file. DataError: there is no such folder or model, or the hub cannot be reached.
    """
    folder = at_hand(located(model) / name).parents[name.count("/")]
    if folder.exists():
        if not (path := folder / name).is_file():
            raise NoSuchFile(f"{where} = {model!r}: has no file {name}; name the folder of a model that is saved for the hub.")
        return path
    if not _HUB.fullmatch(model):
        raise DataError(
            f"{where} = {model!r}: there is no such folder; name a folder, or a model on the hub (google/flan-t5-small)."
        )
    package("huggingface_hub", f"{where} = {model!r}: there is no such folder, and a model on the hub")
    try:
        return _of_hub(model, name)
    except Exception as error:  # the package and those below it raise many kinds
        if _is_absent(model, name, error):
            raise NoSuchFile(f"{where} = {model!r}: has no file {name} on the hub; name a model that has one.") from None
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(
            f"{where} = {model!r}: there is no such folder, and {name} of such a model cannot be had from the hub ({why}); name "
            "a folder, or a model whose files are on this machine."
        ) from None


def _is_absent(model: str, name: str, error: Exception) -> bool:
    """Whether the hub said that there is no such file: now, or when it was asked last and this machine kept the answer.

    A hub that cannot be reached says nothing of a file, and its error is of the same family.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "LocalEntryNotFoundError" not in kinds:
        return "EntryNotFoundError" in kinds
    kept = import_module("huggingface_hub").try_to_load_from_cache(model, name)
    return kept is not None and not isinstance(kept, str)


@cache
def _of_hub(model: str, name: str) -> Path:
    """Once in a process, since the hub is asked each time."""
    return Path(import_module("huggingface_hub").hf_hub_download(model, name))
