"""Weights of a T5 as the hub of Hugging Face keeps them: config.json, safetensors in one file or several, tokenizer.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from raytune_rec.artifacts import weights
from raytune_rec.data import tokens
from raytune_rec.data.models import NoSuchFile, file_of_model
from raytune_rec.errors import AssemblyError, DataError
from raytune_rec.schema.contract import Parameter
from raytune_rec.storage.files import STORAGE, parse_json

_WHERE = "backbone.weights"
_CONFIG, _WHOLE, _INDEX, _PICKLE = "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"
_SAVE = "save the model anew with save_pretrained of the package transformers, or name another one"
_NAMES = {
    "width": ("d_model", 512), "heads": ("num_heads", 8), "head_width": ("d_kv", 64), "inner": ("d_ff", 2048),
    "blocks": ("num_layers", 6), "buckets": ("relative_attention_num_buckets", 32),
    "distance": ("relative_attention_max_distance", 128),
}  # fmt: skip
"""Option -> its name in config.json, and what holds where it is not there."""
SIZES = frozenset({*_NAMES, "decoder_blocks", "gated", "tied"})
"""The options that config.json says."""
_GATED = {"relu": False, "gated-gelu": True}


def sizes_of(model: str) -> dict[str, Any]:
    """Option -> its value in the config.json of a folder, or of a model on the hub.

    Raises:
        DataError: there is no such file. AssemblyError: it is of no T5 or FLAN-T5.
    """
    config = _json(model, _CONFIG)
    kind, net, least = (
        config.get(n, d) for n, d in (("model_type", "t5"), ("feed_forward_proj", "relu"), ("layer_norm_epsilon", 1e-6))
    )
    if kind != "t5" or str(net) not in _GATED or least != 1e-6:
        raise AssemblyError(
            f"{_WHERE} = {model!r}: {_CONFIG} has model_type = {kind!r}, feed_forward_proj = {net!r}, layer_norm_epsilon = "
            f"{least}; backbone t5 reads 't5', 'relu' or 'gated-gelu', and 1e-06; name the folder of a T5 or a FLAN-T5."
        )
    sizes = {option: config.get(name, default) for option, (name, default) in _NAMES.items()}
    decoder = config.get("num_decoder_layers")
    # version 5 of transformers always says that they are tied, and beside it whether they are told apart
    scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings") is not False)
    return {
        **sizes,
        "decoder_blocks": sizes["blocks"] if decoder is None else decoder,
        "gated": _GATED[net],
        "tied": bool(scaled),
    }


def weights_of(model: str, options: Mapping[str, Any], tokenizer: str, declared: Sequence[Parameter]) -> dict[str, Tensor]:
    """Start values by name.

    Args:
        model: a folder, or the name of a model on the hub. options: of the backbone. tokenizer: fingerprint of that of the data.
        declared: the backbone's parameters. Of tokens it may have fewer than the weights, whose tables end in rows of no token.

    Raises:
        DataError: a file is missing or is not what it should be, or the weights are a pickle.
        AssemblyError: the weights are of another model than the options say, or the data are not cut by their tokenizer.
    """
    _check(model, options)
    path = file_of_model(model, tokens.FILE, _WHERE)
    if tokens.tokenizer_of(STORAGE.get(path), str(path)).fingerprint != tokenizer:
        raise AssemblyError(
            f"{_WHERE} = {model!r}: its tokenizer is another one than that of the data, whose tokens the weights do not know; "
            f"set data.text.tokenizer = {model!r}."
        )
    found: dict[str, Tensor] = {}
    for file in _files(model):
        found |= {name.removesuffix(".weight"): tensor for name, tensor in weights.read(file).items()}
    head = found.setdefault("lm_head", found["shared"]) if "shared" in found else None
    problems = [] if head is None else _head(head, found["shared"], options)
    for p in declared:
        problems += [f"{p.name} {problem}" for problem in _problems(p, found.get(p.name))]
    if problems:
        raise DataError(f"{_WHERE} = {model!r}: its tensors are not those of {_CONFIG} ({'; '.join(problems[:5])}); {_SAVE}.")
    return {p.name: found[p.name].float() for p in declared}


def _json(model: str, name: str) -> dict[str, Any]:
    path = file_of_model(model, name, _WHERE)
    try:
        values = parse_json(STORAGE.get(path).decode())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: is not JSON ({str(error)[:200]}); {_SAVE}.") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: is no table of JSON; {_SAVE}.")
    return values


def _check(model: str, options: Mapping[str, Any]) -> None:
    """The options are those of the weights."""
    if other := {name: value for name, value in sizes_of(model).items() if options[name] != value}:
        told = ", ".join(f"{name} = {str(value).lower()}" for name, value in other.items())
        raise AssemblyError(
            f"{_WHERE} = {model!r}: {_CONFIG} has another model than the options; set backbone.options to {told}, or "
            "leave them out."
        )


def _files(model: str) -> list[Path]:
    """Those with tensors."""
    there = _with_tensors(model)
    if _WHOLE in there:
        return [there[_WHOLE]]
    if _INDEX in there:
        parts = _json(model, _INDEX).get("weight_map")
        names = {str(name) for name in parts.values()} if isinstance(parts, dict) else set()
        if not names or any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
            raise DataError(f"{_WHERE} = {model!r}: {_INDEX} names no files of safetensors in its weight_map; {_SAVE}.")
        return [file_of_model(model, name, _WHERE) for name in sorted(names)]
    why = f"{_PICKLE} alone, a pickle, which can run any code and is not read" if _has_pickle(model) else "no weights"
    raise DataError(f"{_WHERE} = {model!r}: has {why}; it needs {_WHOLE}, or {_INDEX} with its files: {_SAVE}.")


def _with_tensors(model: str) -> dict[str, Path]:
    """The one file of all tensors, else the list of several; neither where the model has none.

    Raises:
        DataError: none of them is at hand, and the hub cannot be reached.
    """
    unknown = None
    for name in (_WHOLE, _INDEX):
        try:
            return {name: file_of_model(model, name, _WHERE)}
        except NoSuchFile:
            continue
        except DataError as error:
            unknown = unknown or error
    if unknown is not None:
        raise unknown
    return {}


def _has_pickle(model: str) -> bool:
    try:
        return bool(file_of_model(model, _PICKLE, _WHERE))
    except NoSuchFile:
        return False


def _head(head: Tensor, shared: Tensor, options: Mapping[str, Any]) -> list[str]:
    apart = options["tied"] and (head.shape != shared.shape or not bool((head == shared).all()))
    return ["lm_head is not shared, though it is said to be tied"] if apart else []


def _problems(p: Parameter, tensor: Tensor | None) -> list[str]:
    if tensor is None:
        return ["is missing"]
    shape, free = tuple(tensor.shape), p.name in ("shared", "lm_head")
    if shape != p.shape and not (free and shape[1:] == p.shape[1:] and shape[0] > p.shape[0]):
        return [f"has shape {shape} for {p.shape}"]
    return [] if tensor.is_floating_point() and bool(tensor.isfinite().all()) else ["holds what is no finite number"]
