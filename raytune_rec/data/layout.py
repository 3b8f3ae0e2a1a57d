"""Where the parts of a store lie, and how an item is called in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc

MARKER = "_complete.json"
BEGUN = "_begun.json"


def domain_folder(store: Path, domain: str) -> Path:
    """The folder of a domain's interactions."""
    return store / "interactions" / f"domain={quote(domain, safe='')}"


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
