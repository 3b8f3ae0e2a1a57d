"""What each column is taken for, and why: keys, labels, times and features of users, items or rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from raytune_rec.command.init.columns import Column, afterwards, fixed, tells, words
from raytune_rec.command.init.files import Group
from raytune_rec.command.init.telling import by_name, fraction, useless
from raytune_rec.data.blocks import ROW_COLUMNS, SourceKind, SourceRole
from raytune_rec.data.formats import PARSERS
from raytune_rec.errors import DataError
from raytune_rec.schema.prepared import ALL_DOMAINS, BESIDE, SPLITS

_RESERVED = {*ROW_COLUMNS, ALL_DOMAINS, *SPLITS, *BESIDE, "raw", "count", "hash", "row", "id"}
_FIXED = 0.97
_MOST_DOMAINS = 100
_RULES = {
    "timestamp": "times, which are dates in ISO form or numbers since 1970",
    "label": "two values, which are true and false, yes and no, t and f, y and n, or 1 and 0",
    "rating": "numbers, two of them or more",
}
"""What a column must hold to be what the user says."""


@dataclass(frozen=True)
class Feature:
    """A column that says something of a user, an item or a row. side: it stands in a file of users or items."""

    name: str
    column: str
    kind: SourceKind
    role: SourceRole
    separator: str = ""
    format: str = ""
    side: bool = False


@dataclass
class Side:
    """Files of users or items. key: the column that names them there. domain: they have the log's column of domains."""

    paths: list[Path]
    key: str
    domain: bool


@dataclass
class Roles:
    """What the columns are.

    Args:
        columns: user, item, label, rating, timestamp, domain -> column.
        domain_from: each file is a domain.
        formats: label, rating or timestamp -> how text writes it.
        missing: what stands for nothing. shared: an item is the same in every domain.
        above: a rating above it is a positive. positives: share of the ratings above it.
        why: what was taken for what, and why. left_out: column -> why it is not read.
    """

    columns: dict[str, str]
    paths: list[Path]
    rows: int
    domains: dict[str, int]
    domain_from: bool = False
    formats: dict[str, str] = field(default_factory=dict)
    features: list[Feature] = field(default_factory=list)
    sides: dict[str, Side] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    shared: bool = False
    above: float | None = None
    positives: float = 0.0
    why: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


def roles_of(groups: list[Group], given: Mapping[str, str]) -> Roles:
    """What the columns of a log, and of files of users and items beside it, are.

    Args:
        given: role -> column, as the user says.

    Raises:
        DataError: there is no log, or a column that was named is not there.
    """
    tables = [(group, {name: Column(name, group.table.column(name)) for name in group.names}) for group in groups]
    keys = [_keys(columns, given) for _, columns in tables]
    log = next((place for place, found in enumerate(keys) if {"user", "item"} <= found.keys()), None)
    if log is None:
        there = "; ".join(f"{group.paths[0]}: {', '.join(group.names)}" for group in groups)
        remedy = "say which, such as --column user=NAME --column item=NAME"
        raise DataError(f"no file has a column of users and one of items by its name ({there}); {remedy}.")
    group, columns = tables[log]
    if unknown := {role: name for role, name in given.items() if name and name not in columns}:
        told = ", ".join(f"{role}={name}" for role, name in unknown.items())
        raise DataError(f"--column {told}: there is no such column in {group.paths[0]}; there are {', '.join(columns)}.")
    roles = Roles(dict(keys[log]), group.paths, group.table.num_rows, {})
    _asked(roles, columns, given)
    _domain(roles, group, columns, given)
    _log_features(roles, columns)
    for place, (beside, others) in enumerate(tables):
        if place != log:
            _beside(roles, beside, others, keys[place])
    _sharing(roles, columns, group)
    _missing(roles, columns)
    return roles


def _keys(columns: Mapping[str, Column], given: Mapping[str, str]) -> dict[str, str]:
    """user and item -> column, by name."""
    found = {}
    for role in ("user", "item"):
        named = given.get(role) or by_name(role, columns.values(), lambda column: not column.lists and bool(column.counts))
        if named in columns:
            found[role] = named
    if not found and all(re.fullmatch(r"column_\d+", name) for name in columns):  # without a header, by place
        ids = [
            c.name for c in columns.values() if not (c.epoch or c.iso or c.typed_time) and len(c.counts) > 10 and not fraction(c)
        ]
        found = dict(zip(("user", "item"), ids, strict=False)) if len(ids) > 1 else {}
    return found


def _asked(roles: Roles, columns: Mapping[str, Column], given: Mapping[str, str]) -> None:
    """Labels, ratings and times."""
    left = [c for c in columns.values() if c.name not in roles.columns.values()]
    fits: Mapping[str, Callable[[Column], bool]] = {
        "timestamp": lambda c: c.typed_time or c.iso or c.epoch,
        "label": lambda c: c.two_valued and len(c.counts) > 1,
        "rating": lambda c: c.number is not None and len(c.counts) > 2,
    }
    kinds = {"timestamp": "times", "label": "two values", "rating": "numbers"}
    for role, fit in fits.items():
        if role in given and not given[role]:
            continue
        name, why = given.get(role, ""), "as you said"
        if name and not fit(columns[name]) and not (role == "rating" and _numbers(columns[name])):
            other = f", or give its numbers as --column rating={name}" if role == "label" and _numbers(columns[name]) else ""
            raise DataError(
                f"--column {role}={name}: this column does not hold {_RULES[role]} ({_example(columns[name])}); "
                f"name another{other}."
            )
        if not name:
            name, why = by_name(role, left, fit), f"by its name and {kinds[role]}"
        if not name and role == "timestamp":
            sure = [c.name for c in left if c.typed_time or c.iso or (c.epoch and "id" not in words(c.name))]
            name, why = (sure[0] if sure else ""), "it alone holds times" if len(sure) == 1 else "the first that holds times"
        if not name and role == "label" and len(two := [c.name for c in left if fit(c)]) == 1:
            name, why = two[0], "the only column of two values, one for each row"
        if not name and role == "rating" and "label" not in roles.columns:
            scale = [c.name for c in left if c.name.startswith("column_") and 2 < len(c.counts) <= 20 and c.number == ""]
            name, why = (scale[0] if scale else ""), "numbers of a short scale"
        if name:
            roles.columns[role] = name
            left = [c for c in left if c.name != name]
            roles.why.append(f"{role}: {name!r}, {why} (such as {_example(columns[name])})")
            _format(roles, role, columns[name])
    for role in ("item", "user"):
        how = (
            "as you said" if role in given else "by its name" if not roles.columns[role].startswith("column_") else "by its place"
        )
        distinct = len(columns[roles.columns[role]].counts)
        roles.why.insert(0, f"{role}: {roles.columns[role]!r}, {how} ({distinct:,} in the rows that were looked at)")
    if "label" in roles.columns and "rating" in roles.columns:
        roles.left_out[roles.columns.pop("rating")] = "a rating beside a label: the label is what is asked"
        roles.formats.pop("rating", None)
    if "rating" in roles.columns:
        _threshold(roles, columns[roles.columns["rating"]])


def _numbers(column: Column) -> bool:
    return column.number is not None and len(column.counts) > 1


def _format(roles: Roles, role: str, column: Column) -> None:
    if role == "timestamp" and column.iso:
        roles.formats[role] = "iso"
    if role == "label" and column.number != "" and column.cells.type != "bool":
        roles.formats[role] = "bool"
    if role == "rating" and column.number:
        roles.formats[role] = column.number


def _threshold(roles: Roles, column: Column) -> None:
    values = column.values[np.isfinite(column.values)]
    steps = np.unique(values)[:-1]
    roles.above = float(min(steps[:1000], key=lambda step: abs((values > step).mean() - 0.5)))
    roles.positives = float((values > roles.above).mean())


def _domain(roles: Roles, group: Group, columns: Mapping[str, Column], given: Mapping[str, str]) -> None:
    used = {*roles.columns.values()}
    left = [c for c in columns.values() if c.name not in used]
    name = given.get("domain", "") or (
        by_name("domain", left, lambda c: not c.lists and 2 <= len(c.counts) <= _MOST_DOMAINS) if "domain" not in given else ""
    )
    stems = [path.name.split(".")[0] for path in group.paths]
    letters = {re.sub(r"[\W\d_]+|part|train|valid|test", "", stem.lower()) for stem in stems}
    if name:
        roles.columns["domain"] = name
        roles.domains = dict(columns[name].counts.most_common())
        roles.why.append(
            f"domain: {name!r}, {'as you said' if given.get('domain') else 'by its name'} ({', '.join([*roles.domains][:8])})"
        )
    elif len(stems) > 1 and len(letters) == len(stems) == len(set(stems)) and "domain" not in given:
        roles.domain_from = True
        roles.domains = {stem: group.file.count(place) for place, stem in enumerate(stems)}
        roles.why.append(
            f"domain: each file is one, called as the file is, since their names differ by words ({', '.join(stems[:8])})"
        )
    else:
        roles.why.append("domain: one, since no column and no file name tells several")


def _log_features(roles: Roles, columns: Mapping[str, Column]) -> None:
    users = columns[roles.columns["user"]].texts
    domains = columns[roles.columns["domain"]].texts if "domain" in roles.columns else [""] * len(users)
    items = [f"{d}/{i}" if i else "" for d, i in zip(domains, columns[roles.columns["item"]].texts, strict=True)]
    label = _labels(roles, columns)
    for column in columns.values():
        if column.name in roles.columns.values() or column.name in roles.left_out:
            continue
        if why := useless(column):
            roles.left_out[column.name] = why
        elif label is not None and tells(column, label):
            roles.left_out[column.name] = "it gives the label away: it is likely known only afterwards"
        elif afterwards(column):
            roles.left_out[column.name] = (
                "by its name what a user did with the row, known only afterwards; if it is known before, add it under "
                "data.options.features"
            )
        else:
            shares = {"user": fixed(column, users), "item": fixed(column, items)}
            role: SourceRole = "item" if shares["item"] >= shares["user"] else "user"
            if shares[role] < _FIXED:
                role = "context"
            _add(roles, column, role)


def _labels(roles: Roles, columns: Mapping[str, Column]) -> np.ndarray | None:
    """(N,) bool, of ratings too; None where rows have neither."""
    if name := roles.columns.get("label"):
        return np.array([PARSERS["bool"](text) == 1 for text in columns[name].texts], bool)
    if (name := roles.columns.get("rating")) and roles.above is not None:
        return np.asarray(columns[name].values > roles.above)
    return None


def _add(roles: Roles, column: Column, role: SourceRole, side: bool = False) -> None:
    kind: SourceKind = "categorical"
    named = bool({*words(column.name)} & {"id", "code", "zip", "postcode"})
    if column.separator:
        kind = "multi"
    elif column.number is not None and not named and (len(column.counts) > 20 or fraction(column)):
        kind = "numerical"
    if kind == "categorical" and role == "context" and len(column.counts) > 0.5 * column.counts.total():
        roles.left_out[column.name] = "nearly as many values as rows"
        return
    taken = {feature.name for feature in roles.features} | _RESERVED
    name = base = "_".join(words(column.name)) or "feature"
    for more in ("_value", *(f"_{n}" for n in range(2, 10_000))):
        if name not in taken:
            break
        name = f"{base}{more}"
    form = column.number or "" if kind == "numerical" else ""
    separator = column.separator if kind == "multi" and not column.lists else ""
    roles.features.append(Feature(name, column.name, kind, role, separator, form, side))


def _beside(roles: Roles, group: Group, columns: Mapping[str, Column], keys: Mapping[str, str]) -> None:
    """Files that are no log are of users or of items, or are left out."""
    role = "user" if "user" in keys else "item"
    files = ", ".join(map(str, group.paths[:3])) + (" ..." if len(group.paths) > 3 else "")
    if len(keys) != 1 or f"{role}s" in roles.sides:
        why = "has other columns than the log, and no file of users or items is like it"
        roles.left_out[files] = why
        return
    roles.sides[f"{role}s"] = Side(group.paths, keys[role], roles.columns.get("domain") in columns)
    roles.why.append(f"{role}s: {files}, one for each row, named by {keys[role]!r}")
    for column in columns.values():
        if column.name == keys[role] or column.name == roles.columns.get("domain"):
            continue
        roles.missing += column.missing
        if (why := useless(column)) and "names rows" not in why:
            roles.left_out[column.name] = why
        elif why:
            roles.left_out[column.name] = f"as many values as {role}s"
        else:
            _add(roles, column, "user" if role == "user" else "item", side=True)
    # what of this role stands in the log is not read: a job has its features of users, or of items, in one place
    for feature in [f for f in roles.features if f.role == role and not f.side]:
        roles.features.remove(feature)
        roles.left_out[feature.column] = f"a feature of {role}s in the log, and there are files of {role}s"


def _sharing(roles: Roles, columns: Mapping[str, Column], group: Group) -> None:
    """Whether an item id is the same item everywhere."""
    if not roles.domains:
        return
    items = columns[roles.columns["item"]].texts
    place = columns[roles.columns["domain"]].texts if "domain" in roles.columns else list(map(str, group.file))
    where: dict[str, set[str]] = {}
    for item, domain in zip(items, place, strict=True):
        where.setdefault(item, set()).add(domain)
    several = sum(len(domains) > 1 for domains in where.values()) / max(1, len(where))
    words_of_ids = sum(not item.isdigit() for item in where) > 0.5 * len(where)
    told = [f for f in roles.features if f.role == "item" and not f.side and len(columns[f.column].counts) > 5]
    alike = bool(told) and all(fixed(columns[f.column], items) >= _FIXED for f in told)
    side = "items" in roles.sides and not roles.sides["items"].domain
    roles.shared = side or (several > 0.2 and (words_of_ids or alike))
    if roles.shared:
        why = (
            "their file has no domain"
            if side
            else f"{several:.0%} of the ids stand in several domains, and "
            + ("are no mere numbers" if words_of_ids else "have the same features there")
        )
        roles.why.append(f"items are shared: an id means the same item in every domain, since {why}")
    elif several > 0.2:
        roles.why.append("items are not shared: ids are mere numbers, which may mean another item in each domain (shared_items)")


def _missing(roles: Roles, columns: Mapping[str, Column]) -> None:
    domains = set(roles.domains)
    used = {*roles.columns.values(), *(f.column for f in roles.features if not f.side)} - {roles.columns.get("domain")}
    found = {word for name in used for word in columns[name].missing if word not in domains}
    roles.missing = sorted(found.union(roles.missing) - domains)
    if roles.missing:
        roles.why.append(f"cells that count as empty: {', '.join(map(repr, roles.missing))}")


def _example(column: Column) -> str:
    return ", ".join(repr(text[:40]) for text, _ in column.counts.most_common(2))
