"""Tensors on disk: safetensors with deterministic bytes, and the facts that are checked before they are used."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from raytune_rec.errors import ArtifactError
from raytune_rec.storage.files import STORAGE
from raytune_rec.storage.fingerprint import file_sha256

_MOST = 20
"""Problems of damaged weights that are told."""


@dataclass(frozen=True)
class TensorFacts:
    """What is known of a stored tensor without reading it.

    Args:
        shape: its true shape, no padding.
        dtype: as in `float32`, `int64`.
        group: the parameter group that claims it.
        rows: vocabulary whose ids, listed in the tensor `rows.<vocabulary>`, index the first axis; None: all rows are there.
    """

    shape: tuple[int, ...]
    dtype: str
    group: str = ""
    rows: str | None = None


def facts(
    tensors: Mapping[str, Tensor], groups: Mapping[str, str] | None = None, rows: Mapping[str, str | None] | None = None
) -> dict[str, TensorFacts]:
    """Name -> facts of each tensor, `rows.*` left out (they are an index, not a parameter)."""
    return {
        name: TensorFacts(tuple(t.shape), dtype_name(t), (groups or {}).get(name, ""), (rows or {}).get(name))
        for name, t in sorted(tensors.items())
        if not name.startswith("rows.")
    }


def dtype_name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def write(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Store tensors; the same tensors give the same bytes.

    Args:
        path: of the safetensors file, replaced atomically.
        tensors: any device, any memory layout; stored contiguous, by name.

    Returns:
        sha256 of the file.
    """
    # A clone each: two tensors over one storage (lanes of a stack) would be refused.
    copies = {name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}
    STORAGE.put(Path(path), lambda temporary: _save(copies, temporary))
    return file_sha256(path)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    """safetensors tells a full disk as an error of its own kind, with the system's number in its text."""
    try:
        save_file(dict(tensors), str(path))
    except SafetensorError as error:
        if (number := re.search(r"\(os error (\d+)\)", str(error))) is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error


def read(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU, as copies: a product of a tensor that does not begin where torch puts its own may differ
    in the last bit.

    Args:
        path: of the safetensors file.
        sha256: what the file must be; checked before a tensor is read.

    Raises:
        ArtifactError: the file is missing, damaged or another one.
    """
    path = Path(path)
    actual = file_sha256(path)
    if sha256 is not None and actual != sha256:
        raise ArtifactError(
            f"{path}: its sha256 is {actual}, the facts beside it say {sha256}; "
            "the file was damaged or exchanged. Copy the artifact anew."
        )
    try:
        return {name: tensor.clone() for name, tensor in sorted(load_file(str(path)).items())}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
        raise ArtifactError(f"{path}: damaged, it is not a safetensors file ({error}); copy the artifact anew.") from None


def check(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, TensorFacts]) -> None:
    """Names, shapes and dtypes are what the facts say, every number is finite, and every `rows.*` index fits its tensors.

    Raises:
        ArtifactError: everything that does not fit, a sentence each.
    """
    index = {f"rows.{f.rows}" for f in expected.values() if f.rows is not None}
    problems = [f"{path}: the tensor {name!r} is missing." for name in sorted({*expected, *index} - {*tensors})]
    problems += [f"{path}: the tensor {name!r} is not in the facts." for name in sorted({*tensors} - {*expected, *index})]
    for name in sorted({*expected} & {*tensors}):
        shape, dtype = tuple(tensors[name].shape), dtype_name(tensors[name])
        want = expected[name]
        if (shape, dtype) != (tuple(want.shape), want.dtype):
            problems.append(f"{path}: {name!r} is {dtype}{list(shape)}, the facts say {want.dtype}{list(want.shape)}.")
        ids = tensors.get(f"rows.{want.rows}") if want.rows is not None else None
        if ids is not None and (dtype_name(ids) != "int64" or tuple(ids.shape) != shape[:1]):
            given = f"{dtype_name(ids)}{list(ids.shape)}"
            problems.append(f"{path}: 'rows.{want.rows}' is {given}, {name!r} needs int64{list(shape[:1])}.")
    problems += [f"{path}: {name!r} holds what is no finite number." for name in sorted(tensors) if not _finite(tensors[name])]
    problems += [problem for name in sorted(index & {*tensors}) for problem in _ids(path, name, tensors[name])]
    if problems:
        problems = [*problems[:_MOST], *([f"{path}: and {len(problems) - _MOST} more."] if len(problems) > _MOST else [])]
        raise ArtifactError([*problems, f"{path}: copy the artifact anew, or export it again."])


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _ids(path: Path, name: str, ids: Tensor) -> list[str]:
    """What is wrong with the global ids of some rows; how many there may be, the backbone's data know."""
    if ids.dtype.is_floating_point or ids.dim() != 1 or not len(ids):
        return []  # told already
    problems = [f"{path}: {name!r} holds the negative id {int(ids.min())}."] if ids.min() < 0 else []
    return problems + ([f"{path}: {name!r} holds an id twice."] if len(ids.unique()) < len(ids) else [])
