"""Where the parts of a store lie, and how an item is called in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raytune_rec.names import path_name

FOLDER = "sequences"
"""Of the histories."""
USERS = "users.parquet"
"""Of histories: a row for each domain and user."""


TEXTS = "texts"
"""Of tokens, with their tokenizer."""
VECTORS = "vectors.parquet"
"""Of items, made of their texts: a column for each name, a row for each item."""


def table_file(store: Path, role: str) -> Path:
    """The Parquet file of the users, or of the items: a row for each, in the order of their ids."""
    return store / f"{role}s.parquet"


def domain_folder(store: Path, domain: str) -> Path:
    """The folder of a domain's interactions."""
    return store / "interactions" / f"domain={path_name(domain)}"


def vocabulary_file(store: Path, field: str) -> Path:
    """The Parquet file of a field's vocabulary."""
    return store / "vocabulary" / f"{path_name(field)}.parquet"


def domain_file(store: Path, domain: str) -> Path:
    """The file of a domain's interactions."""
    return domain_folder(store, domain) / "part-00000.parquet"


def item_keys(domain: pa.Array | None, item: pa.Array, shared: bool) -> pa.Array:
    """The vocabulary's keys of items: the raw id, or `<domain>/<item>` where each domain has items of its own."""
    if shared or domain is None:
        return item
    return pc.binary_join_element_wise(domain.dictionary_decode(), item.dictionary_decode(), "/")


def item_parts(keys: Sequence[str], shared: bool) -> tuple[list[str], list[str]]:
    """Keys of items -> (the domain of each, empty where they are shared; its raw id)."""
    if shared:
        return [""] * len(keys), list(keys)
    parts = [key.partition("/") for key in keys]
    return [domain for domain, _, _ in parts], [raw for _, _, raw in parts]
