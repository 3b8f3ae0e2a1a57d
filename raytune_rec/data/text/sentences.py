"""A sentence encoder that stays as it is: a folder as the package sentence-transformers saves it, or a model on the hub.

Shapes: N texts, S tokens of the longest of a batch, W numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from raytune_rec.data.models import NoSuchFile, file_of_model, package
from raytune_rec.errors import DataError
from raytune_rec.storage.files import STORAGE, parse_json

FILES = ("config.json", "tokenizer.json", "model.safetensors")
_MODULES, _POOLING = "modules.json", "1_Pooling/config.json"
_READ = {"Transformer", "Pooling", "Normalize"}
"""Modules of sentence-transformers that are read here."""
_BATCH, _LONGEST = 64, 256


def files_of(model: str, where: str) -> list[Path]:
    """The files of a model; raises DataError where one is missing."""
    return [file_of_model(model, name, where) for name in FILES]


def sentence_vectors(model: str, texts: Sequence[str], where: str) -> np.ndarray:
    """(N, W) float32, of length 1: the mean over a text's tokens, or what stands at its first one, as the model's pooling says.

    Args:
        model: a folder, or a model on the hub. where: of the option that names it.

    Raises:
        DataError: it is no such model, has other modules than these, or a package is missing.
    """
    config, tokenizer, _ = files_of(model, where)
    needs = f"{where} = {model!r}: a sentence encoder"
    torch, fast, hub = (package(name, needs) for name in ("torch", "tokenizers", "transformers"))
    _check_modules(model, where)
    first = _reads_the_first_token(model, where)
    try:
        cut = fast.Tokenizer.from_file(str(tokenizer))
        cut.enable_padding()
        cut.enable_truncation(_LONGEST)
        encoder = hub.AutoModel.from_pretrained(str(config.parent), use_safetensors=True, local_files_only=True).eval()
    except Exception as error:  # the packages raise many kinds
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{where} = {model!r}: cannot be read ({why}); save it anew with sentence-transformers.") from None
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # of like length together
    made = np.zeros((len(texts), int(encoder.config.hidden_size)), np.float32)
    with torch.no_grad():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            encoded = cut.encode_batch([texts[i] for i in rows])
            ids, mask = (torch.tensor([getattr(e, name) for e in encoded]) for name in ("ids", "attention_mask"))
            states = encoder(input_ids=ids, attention_mask=mask).last_hidden_state  # (n, S, W)
            real = mask.unsqueeze(-1).to(states.dtype)
            pooled = states[:, 0] if first else (states * real).sum(1) / real.sum(1).clamp(min=1)
            made[rows] = torch.nn.functional.normalize(pooled, dim=1).float().numpy()
    return made


def _check_modules(model: str, where: str) -> None:
    """Refuse a model whose vectors are more than what is read here, such as a dense layer behind."""
    modules = _json(model, _MODULES, where, list)
    kinds = {str(m.get("type")).rpartition(".")[2] if isinstance(m, dict) else str(m) for m in modules or ()}
    if more := kinds - _READ:
        raise DataError(
            f"{where} = {model!r}: has {', '.join(sorted(more))} among its modules; name a model of "
            f"{', '.join(sorted(_READ))} alone."
        )


def _json(model: str, name: str, where: str, kind: type) -> Any:
    """The content of a file of a model; None where it has no such file."""
    try:
        path = file_of_model(model, name, where)
    except NoSuchFile:
        return None
    try:
        if isinstance(values := parse_json(STORAGE.get(path).decode()), kind):
            return values
        why = f"it holds a {type(values).__name__}"
    except (ValueError, RecursionError) as error:
        why = str(error)[:200]
    raise DataError(f"{where} = {model!r}: {name} is none of sentence-transformers ({why}); save the model anew with it.")


def _reads_the_first_token(model: str, where: str) -> bool:
    """Whether a text is what stands at its first token; else it is the mean over its tokens."""
    values = _json(model, _POOLING, where, dict)
    if values is None:
        return False
    modes = {name for name, value in values.items() if name.startswith("pooling_mode_") and value}
    if not modes <= {"pooling_mode_cls_token", "pooling_mode_mean_tokens"} or len(modes) != 1:
        raise DataError(
            f"{where} = {model!r}: pools by {', '.join(sorted(modes)) or 'nothing'}; name a model that pools by its first token "
            "or by the mean of all."
        )
    return modes == {"pooling_mode_cls_token"}
