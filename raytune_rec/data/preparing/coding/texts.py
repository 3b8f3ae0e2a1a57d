"""Tokens of the texts of users and items, beside their tables. Shapes: N rows of a table, L tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raytune_rec.data import tokens
from raytune_rec.data.blocks import SourceField
from raytune_rec.data.layout import TEXTS, item_parts, table_file
from raytune_rec.data.text.indicators import indicators, propose
from raytune_rec.data.text.items import item_text
from raytune_rec.data.text.unigram import learnt
from raytune_rec.errors import DataError
from raytune_rec.job.data import UNIGRAM, WORDS, TextOptions
from raytune_rec.schema.prepared import Field
from raytune_rec.storage.files import STORAGE

_SHOWN = 80


@dataclass(frozen=True)
class NamedText:
    """A text of each user, or of each item.

    Args:
        columns: text columns that it is made of.
        composed: it is an item text; otherwise it is its one column as it stands.
    """

    name: str
    role: Literal["user", "item"]
    columns: tuple[str, ...]
    composed: bool = False

    def of(self, rows: pa.Table) -> list[str]:
        """(N,) texts."""
        if not self.composed:
            return rows[self.columns[0]].to_pylist()
        return [item_text(row, self.columns) for row in rows.select(list(self.columns)).to_pylist()]


def texts_of(declared: Sequence[SourceField], options: TextOptions) -> tuple[NamedText, ...]:
    """The texts that have tokens: of users each column, of items those that the job names, or else each column.

    Raises:
        DataError: the source declares no text, or not what the job names.
    """
    columns = [field for field in declared if field.kind == "text"]
    if not columns:
        raise DataError("data.text: the source declares no text column of users or items; map one, or leave data.text out.")
    of_items = [field.name for field in columns if field.role == "item"]
    others = {field.name for field in declared} - set(of_items)
    there = ", ".join(of_items) or "none"
    problems = [
        f"data.text.items.{name}: {unknown!r} is no text column of items; there are {there}."
        for name, attributes in options.items.items()
        for unknown in attributes
        if unknown not in of_items
    ]
    problems += [
        f"data.text.items.{name}: a feature is called so; choose another name." for name in options.items if name in others
    ]
    if problems:
        raise DataError(problems)
    alone = tuple(
        NamedText(field.name, "user" if field.role == "user" else "item", (field.name,))
        for field in columns
        if field.role == "user" or not options.items
    )
    return (*alone, *(NamedText(name, "item", tuple(columns), True) for name, columns in options.items.items()))


def write_texts(
    store: Path, declared: Sequence[SourceField], options: TextOptions, shared_items: bool, known: tokens.Tokenizer | None = None
) -> tuple[tuple[Field, ...], tokens.Tokenizer, dict[str, Any]]:
    """Write `texts/` of a store that holds its users and items: a table of tokens for each of them, and the tokenizer.

    Words and pieces of words are those that the training split meets.

    Args:
        known: what made the tokens of a finished run, whose log has grown; None: there is none.

    Returns:
        The text fields, the tokenizer, and for summary.json what is to be told of each text.

    Raises:
        DataError: see `texts_of`; or the tokenizer cannot be read, or nobody has any text of a name.
    """
    named = texts_of(declared, options)
    STORAGE.make_folder(store / TEXTS)
    wanted = {text.role: ["raw", "count"] for text in named}
    for text in named:
        wanted[text.role] += text.columns
    tables = {role: pq.read_table(table_file(store, role), columns=list(dict.fromkeys(names))) for role, names in wanted.items()}
    texts = {text.name: text.of(tables[text.role]) for text in named}
    if empty := [name for name, values in texts.items() if not any(value.strip() for value in values)]:
        raise DataError(f"data.text: nobody has a text {', '.join(empty)}; map another column, or leave it out.")
    trained = {role: np.flatnonzero(table["count"].to_numpy() > 0).tolist() for role, table in tables.items()}
    met = (texts[text.name][row] for text in named for row in trained[text.role])
    tokenizer: tokens.Tokenizer
    if known is not None:
        tokenizer = known
    elif options.tokenizer == WORDS:
        tokenizer = tokens.Words.of(met)
    else:
        content = learnt(met, options.vocabulary) if options.tokenizer == UNIGRAM else tokens.file_of(options.tokenizer)
        tokenizer = tokens.tokenizer_of(content, options.tokenizer)
    told: dict[str, Any] = {}
    for role, table in tables.items():
        domains = item_parts(table["raw"].to_pylist(), shared_items or role == "user")[0]
        columns = {}
        for text in (text for text in named if text.role == role):
            made = tokenizer.encode(texts[text.name], options.length + 1)
            columns[text.name] = _lists(made[:, : options.length])
            longer = int((made[:, -1] > 0).sum())
            told[text.name] = {"of": role, "longer": longer, **alike(texts[text.name][1:], domains[1:])}
        pq.write_table(pa.table(columns), store / TEXTS / f"{role}s.parquet", compression="zstd")
    tokens.write(tokenizer, store / TEXTS)
    fields = tuple(Field(text.name, "text", text.role, tokenizer.size, options.length) for text in named)
    return fields, tokenizer, told


def alike(texts: Sequence[str], domains: Sequence[str]) -> dict[str, Any]:
    """How many texts there are, how many are empty, and how many another of the same domain has too, with an example."""
    table = pa.table({"domain": pa.array(domains, pa.string()), "text": pc.utf8_trim_whitespace(pa.array(texts, pa.string()))})
    counts = table.filter(pc.not_equal(table["text"], "")).group_by(["domain", "text"]).aggregate([("text", "count")])
    several = counts.filter(pc.greater(counts["text_count"], 1)).sort_by([("text_count", "descending"), ("text", "ascending")])
    there, shared = (int(pc.sum(rows["text_count"]).as_py() or 0) for rows in (counts, several))
    told = {"all": len(texts), "empty": len(texts) - there, "different": len(counts), "alike": shared}
    return {**told, **({"example": several["text"][0].as_py()[:_SHOWN]} if len(several) else {})}


def measured(store: Path, declared: Sequence[SourceField], options: TextOptions, shared_items: bool) -> dict[str, Any]:
    """For summary.json: what each text column of items is worth in each domain, and which ones an item text might have.

    Returns:
        `found`: attribute -> domain -> indicator -> value; `pretrain` and `tune`: attributes in order. Empty where items have no
        text column.
    """
    names = [field.name for field in declared if field.kind == "text" and field.role == "item"]
    if not names:
        return {}
    table = pq.read_table(table_file(store, "item"), columns=["raw", *names]).slice(1)
    rows: dict[str, list[int]] = {}
    for row, domain in enumerate(item_parts(table["raw"].to_pylist(), shared_items)[0]):
        rows.setdefault(domain, []).append(row)
    found = indicators({name: {d: table[name].take(rows[d]).to_pylist() for d in sorted(rows)} for name in names})
    pretrain, tune = propose(found, options.length)
    values = {name: {domain: asdict(each) for domain, each in of.items()} for name, of in found.items()}
    return {"found": values, "pretrain": pretrain, "tune": tune}


def _lists(padded: np.ndarray) -> pa.ListArray:
    """(N, L) -> list<int32> without the padding."""
    real = padded > 0
    offsets = np.concatenate([[0], np.cumsum(real.sum(1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(padded[real].astype(np.int32)))
