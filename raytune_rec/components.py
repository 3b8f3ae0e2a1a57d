"""Name -> component. A component is the one public class of a public module; the module's file name is its name in a job.

There is no list to edit: `prompts/x.py` is found as prompt `x`, and so is `x.py` in a folder that a job names under `components`.
A component's options are one frozen pydantic model, `Options`, whose fields say how they may differ inside a pack:

    numeric     one number per lane, a (T,) tensor in the forward pass (temperature, dropout rate)
    padded      changes a shape that is padded and masked inside a pack; also a (T,) tensor (meta-prompts, hidden width)
    structural  lanes of one pack share the value (the default)
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic import Field as _Field

from raytune_rec.errors import JobError
from raytune_rec.storage.claim import RUN, claimed
from raytune_rec.storage.files import STORAGE, at_hand
from raytune_rec.storage.places import located

_ENVIRONMENT = "pyvenv.cfg"
"""Python marks a virtual environment by it."""

Kind = Literal["numeric", "padded", "structural"]
Family = Literal["backbones", "prompts", "objectives", "data.sources", "trackers"]
_NOT_COMPONENTS = {"base"}


class Options(BaseModel):
    """Base of every component's options: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def numeric(default: Any, description: str, **bounds: Any) -> Any:
    """An option that differs freely between the lanes of a pack."""
    return _Field(default, description=description, json_schema_extra={"kind": "numeric"}, **bounds)


def padded(default: Any, description: str, **bounds: Any) -> Any:
    """An option that changes a shape which a pack pads and masks."""
    return _Field(default, description=description, json_schema_extra={"kind": "padded"}, **bounds)


def structural(default: Any, description: str, **bounds: Any) -> Any:
    """An option that all lanes of a pack share."""
    return _Field(default, description=description, json_schema_extra={"kind": "structural"}, **bounds)


def kinds(options: type[BaseModel]) -> dict[str, Kind]:
    """Option name -> how it may differ inside a pack."""
    by_option: dict[str, Kind] = {}
    for name, info in options.model_fields.items():
        extra = info.json_schema_extra
        by_option[name] = extra.get("kind", "structural") if isinstance(extra, dict) else "structural"  # type: ignore[assignment]
    return by_option


def names(family: Family, folders: Sequence[Path] = ()) -> list[str]:
    """Names of all components of a family, the user's own folders included."""
    modules = _shipped(family).union(*({p.stem for p in STORAGE.list(_own(f, family), "*.py")} for f in folders))
    return sorted(n for n in modules if not n.startswith("_") and n not in _NOT_COMPONENTS)


@cache
def _shipped(family: Family) -> frozenset[str]:
    """Modules of the package."""
    return frozenset(m.name for m in pkgutil.iter_modules(importlib.import_module(f"raytune_rec.{family}").__path__))


def component(family: Family, name: str, folders: Sequence[Path] = ()) -> Any:
    """The class called `name`.

    Raises:
        JobError: there is none; the message lists what exists.
    """
    if name not in (known := names(family, folders)):
        raise JobError(f"{family}: there is no {name!r}; there are {', '.join(known)}.")
    for folder in map(_here, folders):
        path = _own(folder, family) / f"{name}.py"
        if path.exists():
            return _public_class(_load(path, f"raytune_rec_own.{family}.{name}"))
    return _public_class(importlib.import_module(f"raytune_rec.{family}.{name}"))


def files_of(folder: Path) -> dict[str, Path]:
    """What a folder of the user's components holds for a job: name in it -> file. What lies in a run or in a virtual environment
    there is no part of it.
    """
    folder = _here(folder)
    others = {path.parent for path in STORAGE.list(folder, f"**/{RUN}") if claimed(path.parent)} - {folder}
    others |= {path.parent for path in STORAGE.list(folder, f"**/{_ENVIRONMENT}")}
    files = [path for path in STORAGE.list(folder, "**/*.py", "search_spaces/*.toml") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path for path in files if others.isdisjoint(path.parents)}


def options_of(family: Family, name: str, values: Mapping[str, Any], folders: Sequence[Path] = ()) -> Any:
    """The checked options of a component.

    Raises:
        JobError: every wrong value, with the rule it breaks.
    """
    model = component(family, name, folders).Options
    try:
        return model(**values)
    except ValidationError as error:
        where = f"{family}.{name}"
        raise JobError([sentence(where, e, model) for e in _causes(error)]) from None


def _causes(error: ValidationError) -> list[Any]:
    """Without lists that are too short for the only reason that some of their values are wrong, which is told."""
    errors: list[Any] = error.errors()
    inside = {e["loc"][:-1] for e in errors}
    return [e for e in errors if e["type"] != "too_short" or e["loc"] not in inside]


def sentence(where: str, error: Any, model: type[BaseModel] | None = None) -> str:
    """One line for one pydantic error: where, the rule, the value.

    Args:
        model: what was checked; it knows which options there are.
    """
    place = ".".join([where, *(str(part) for part in error["loc"])]).strip(".")
    place = f"{place}: " if place else ""
    if error["type"] == "extra_forbidden":
        section = _section(model, error["loc"][:-1])
        known = [info.alias or name for name, info in section.model_fields.items()] if section else []
        near = get_close_matches(str(error["loc"][-1]), known, 1)
        meant = f" Did you mean {near[0]}?" if near else ""
        there = f"; known here: {', '.join(known)}" if known else ""
        return f"{place}no such option{there}.{meant}"
    if error["type"] == "missing":
        return f"{place}this option is required and is not given."
    whole = error["type"] == "value_error" and isinstance(error["input"], Mapping | BaseModel)  # the rule tells what of it
    given = "" if whole else f" (given: {shown(error['input'])})"
    return f"{place}{error['msg'].removeprefix('Value error, ')}{given}."


def shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]} ... {len(text)} characters"


def _section(model: Any, path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that stands at a place of another one, through optional ones, lists and mappings."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        if not path:
            return model
        named = [info for name, info in model.model_fields.items() if path[0] in (name, info.alias)]
        return _section(named[0].annotation, path[1:]) if named else None
    if get_origin(model) not in (Union, UnionType):
        if not path:
            return None
        path = path[1:]
    inside = (_section(part, path) for part in get_args(model))
    return next((section for section in inside if section), None)


def _own(folder: Path, family: Family) -> Path:
    """A folder of the user's components is laid out as the package: `<folder>/prompts/x.py`."""
    return located(folder) / family.replace(".", "/")


@cache
def _here(folder: Path) -> Path:
    """A folder of the user's components, fetched from an object store once in a process."""
    return at_hand(folder)


def _load(path: Path, name: str) -> ModuleType:
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever is wrong in a user's own file
        del sys.modules[name]
        raise JobError(f"{path}: cannot be loaded ({type(error).__name__}: {error}); mend this component.") from error
    return module


def _public_class(module: ModuleType) -> Any:
    classes = [
        c
        for name, c in inspect.getmembers(module, inspect.isclass)
        if c.__module__ == module.__name__ and not name.startswith("_") and hasattr(c, "Options")
    ]
    if len(classes) != 1:
        rule = "a component's module has exactly one public class with Options"
        raise JobError(f"{module.__name__}: {rule}; found {len(classes)}.")
    return classes[0]
