"""What a column's name tells, and whether its values tell anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from raytune_rec.command.init.columns import Column, words

_KEY = {"id", "no", "key", "code", "nr", "hash", "raw", "name"}
NAMED: Mapping[str, tuple[str, ...]] = {
    "domain": ("domain", "site", "scenario", "market", "shop", "store", "tenant", "app", "vertical", "country", "region",
               "channel"),
    "user": ("user", "uid", "customer", "visitor", "member", "account", "client", "reviewer", "viewer", "buyer", "subscriber",
             "listener", "reader", "session"),
    "item": ("item", "iid", "product", "sku", "article", "movie", "film", "track", "song", "asin", "book", "video", "news", "ad",
             "creative", "listing", "content", "offer", "recipe", "post"),
    "label": ("label", "click", "clicked", "clicks", "target", "converted", "conversion", "purchase", "purchased", "bought",
              "buy", "ordered", "like", "liked", "response", "positive", "installed", "watched", "played", "y"),
    "rating": ("rating", "ratings", "stars", "star", "score", "overall", "grade", "vote"),
    "timestamp": ("timestamp", "time", "ts", "datetime", "date", "at", "when", "created", "day", "unix"),
}  # fmt: skip
"""Words of column names, the surest first."""


def by_name(role: str, columns: Iterable[Column], fits: Callable[[Column], bool]) -> str:
    """The column whose name has the surest word, and no others but those of a key; empty where none fits."""
    there = list(columns)
    for word in NAMED[role]:
        for column in there:
            said = set(words(column.name))
            plain = said - _KEY - {"is", "has", "event", "unix", "review"}
            if (plain == {word} or said in ({word + "id"}, {"is" + word})) and fits(column):
                return column.name
    return ""


def useless(column: Column) -> str:
    """Why a column tells nothing, empty where it may."""
    if not column.readable:
        return f"of type {column.cells.type}, from which no feature is read"
    filled, distinct = column.counts.total(), len(column.counts)
    said = words(column.name)
    if distinct < 2:
        return "the same in every row" if distinct else "empty"
    if column.filled < 0.02:
        return f"filled in {column.filled:.1%} of the rows"
    if column.typed_time or column.iso or (column.epoch and {*said} & {*NAMED["timestamp"]}):
        return "a time beside the time that orders rows"
    if column.sentence:
        return "free text, which no model of this job reads (see data.text)"
    named = bool({*said} & {"id", "uuid", "guid", "index", "row", "nr"})
    if (
        not column.separator
        and distinct > 0.9 * filled
        and filled > 50
        and (column.number is None or (named and not fraction(column)))
    ):
        return "as many values as rows: it names rows, and tells nothing of others"
    return ""


def fraction(column: Column) -> bool:
    if column.number is None:
        return False
    values = column.values[np.isfinite(column.values)]
    return bool((values != np.floor(values)).any())
