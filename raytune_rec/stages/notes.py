"""What a preparation says of the data, so that nobody takes the numbers for something else. The counts are in `summary.json`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raytune_rec.data.instants import UNITS
from raytune_rec.job.data import DataOptions, SplitOptions
from raytune_rec.report.words import percent
from raytune_rec.schema.prepared import SPLITS

_Domains = Mapping[str, Mapping[str, Any]]


def notes(summary: Mapping[str, Any], data: DataOptions) -> list[str]:
    """Lines for the console.

    Args:
        summary: of the store. data: what it was made with.
    """
    domains: _Domains = summary["domains"]
    count = data.sequences is not None and data.sequences.repeats == "count"
    order = [
        *_read(summary),
        *_features(summary),
        *_texts(summary, data),
        *_tied(domains),
        *_backwards(domains),
        *_later(len(domains), data.split),
    ]
    return [
        *order,
        *_repeats(domains, count),
        *_not_taken(summary),
        *_left_out(domains),
        *_after_tests(domains, data.split),
        *_cold_items(domains, data.text is not None),
        *_new_items(data.split),
        *_waiting(domains),
        *_untested(summary),
    ]


def _read(summary: Mapping[str, Any]) -> Iterator[str]:
    """On what the rows were taken for."""
    if unit := summary.get("time_unit"):
        yield f"times that are plain numbers were read as {UNITS[unit]} since 1970"
    for names in summary.get("alike_domains", ()):
        yield f"domains that differ in case or blanks alone are kept apart: {', '.join(map(repr, names))}"
    for name, alike in summary.get("alike", {}).items():
        shown = ", ".join(repr(text[:60]) for text in alike["example"])
        how = "in case, blanks or the form of a letter alone"
        yield f"{name} that differ from another {how} are kept apart: {alike['count']:,} ({shown})"
    if count := summary["interactions"]["duplicates"]:
        yield f"rows that repeat a domain, user and item of another row: {count:,}"
    for name, count in summary["interactions"].get("without_value", {}).items():
        rows = summary["interactions"]["read"] - summary["interactions"]["rejected"]
        none = "; nothing is told by it: map another column, or leave it out" if count == rows else ""
        yield f"rows without a number in {name}: {count:,} of {rows:,}; they count as 0 there{none}"


def _features(summary: Mapping[str, Any]) -> Iterator[str]:
    """On who has features, and who has two of them."""
    for name, counts in summary.get("features", {}).items():
        if counts["files"]:
            yield f"{counts['with_row']:,} of {counts['all']:,} {name} have a row in {', '.join(counts['files'])}"
            if repeated := counts["repeated_rows"]:
                yield f"rows of {name} that come after another of the same: {repeated:,}; the first one counts"
        if differing := counts["other_values"]:
            yield f"{name} whose later rows have other values than the first, which counts: {differing:,}"
        if empty := counts["empty"]:
            lacking = ", ".join(f"{feature} {count:,}" for feature, count in empty.items())
            yield f"of {counts['all']:,} {name} some lack a feature, which then tells nothing of them: {lacking}"
        for feature, (many, kept) in counts["cut"].items():
            yield f"{name} that have more values of {feature} than are kept: {many:,}; their first {kept} count"
        for reason, cells in counts.get("emptied", {}).items():
            where = f"the first in {cells['file']}, line {cells['line']}: {cells['value'][:60]!r}"
            yield f"cells of {name} that are read as empty, since {reason}: {cells['count']:,} ({where})"


def _texts(summary: Mapping[str, Any], data: DataOptions) -> Iterator[str]:
    """On who has no text, who cannot be told by it, and what of it is not read."""
    for name, counts in summary.get("texts", {}).items():
        who, all_ = counts["of"] + "s", counts["all"]
        if counts["empty"]:
            yield f"text {name}: {counts['empty']:,} of {all_:,} {who} have none; a model of texts alone knows nothing of them"
        if counts["different"] == 1 < counts["alike"]:
            yield f"text {name}: all {who} that have one have the same ({counts['example']!r}); it tells none of them apart"
        elif counts["alike"]:
            yield (
                f"text {name}: {counts['alike']:,} of {all_:,} {who} have one that another of their domain has too, such as "
                f"{counts['example']!r}; a model of texts alone cannot tell them apart"
            )
        if counts["longer"] and data.text:
            yield (
                f"text {name}: {counts['longer']:,} of {all_:,} are longer than {data.text.length} tokens, the rest of which is "
                "not read (data.text.length)"
            )


def _tied(domains: _Domains) -> Iterator[str]:
    """On rows whose order in time the data do not tell."""
    tied = _total(domains, "tied")
    if not tied.get("rows"):
        return
    rows = {split: sum(d[split]["rows"] for d in domains.values()) for split in SPLITS[1:]}
    shares = ", ".join(f"{percent(tied[s] / n)} of those of {s}" for s, n in rows.items() if n)
    every = sum(d["rows"] for d in domains.values())
    yield (
        f"equal times: {percent(tied['rows'] / every)} of the rows share their time with another row of their user ({shares}); "
        "which of them comes first is drawn by a hash of seed, user and item"
    )


def _backwards(domains: _Domains) -> Iterator[str]:
    """On rows whose position and timestamp say the opposite of each other."""
    if (back := _total(domains, "backwards")).get("rows"):
        yield (
            f"clocks that run backwards: {back['rows']:,} rows of {back['users']:,} users have a later position and an earlier "
            "timestamp than the row before; the timestamp decides (leave it out where the position is right)"
        )


def _later(domains: int, split: SplitOptions) -> Iterator[str]:
    """On training rows that are later than test rows."""
    held_out = {
        "leave_one_out": "each user's last row is held out",
        "cold_users": "cold users are held out",
        "cold_items": "rows of cold items are held out",
    }
    if whose := held_out.get("leave_one_out" if split.cold_most else split.kind):
        yield f"later times: {whose}, at no common time; what trains on all users sees what others did after a test row"
    elif split.kind == "time" and split.cut == "each" and domains > 1:
        yield (
            "later times: each domain is cut at its own times; what trains on all domains sees rows of one that are later than "
            "test rows of another (data.split.cut = 'all' cuts all at one time)"
        )


def _repeats(domains: _Domains, count: bool) -> Iterator[str]:
    """On rows to rank whose item their user has taken before."""
    repeated = _total(domains, "repeats")
    if not any(repeated.get(s) for s in SPLITS[1:]):
        return
    said = " and ".join(f"{repeated[s]:,} of {repeated[f'{s}_of']:,} {s} rows" for s in SPLITS[1:])
    if count:
        yield f"repeats: {said} repeat an item of their history; they count, and what was taken is recommended too"
    else:
        yield (
            f"repeats: {said} repeat an item of their history; they are left out, since no recommendation names "
            "what was taken (data.sequences.repeats = 'count' ranks it)"
        )


def _not_taken(summary: Mapping[str, Any]) -> Iterator[str]:
    if count := summary["interactions"].get("not_taken", 0):
        yield f"interactions of label 0, left out since histories hold what users took: {count:,}"


def _left_out(domains: _Domains) -> Iterator[str]:
    """On interactions that stand in no history."""
    for name, domain in domains.items():
        if count := domain.get("left_out_of_histories", 0):
            gone = {split: domain.get(f"users_without_{split}", 0) for split in SPLITS[1:]}
            lost = [f"users without a {split} row for that: {n:,}" for split, n in gone.items() if n]
            said = f"{name}: interactions left out of histories, since training does not know their item: {count:,}"
            yield "; ".join([said, *lost])


def _after_tests(domains: _Domains, split: SplitOptions) -> Iterator[str]:
    """On rows of cold items that stand nowhere."""
    between = split.cold_first > split.cold_kept
    where = "before those that validate (data.split.cold_from) and behind" if between else "behind"
    for name, domain in domains.items():
        if count := domain.get("left_out_of_cold_items", 0):
            yield f"{name}: rows of cold items {where} those that test (data.split.cold_held), used nowhere: {count:,}"


def _cold_items(domains: _Domains, texts: bool) -> Iterator[str]:
    """On cold items of which little is known. texts: whether they may have texts besides."""
    for name, domain in domains.items():
        told = domain.get("cold_items")
        if told and (lacking := told["lacking"]):
            counts = ", ".join(f"{feature} {count:,}" for feature, count in lacking.items())
            yield f"{name}: of {told['items']:,} cold items some lack a feature; their others and users tell them: {counts}"
        if told and (one := told["of_one_user"]):
            yield (
                f"{name}: of {told['items']:,} cold items {one:,} have one user alone in training, whose own rows tell nothing "
                "of them: there a prompt borrows users of a similar popular item, or does without any"
            )
        if told and (untold := told["untold"]) and not texts:
            yield (
                f"{name}: of {told['items']:,} cold items {untold:,} have neither a row in training nor a feature: nothing tells "
                "them apart, and every model scores them alike (data.split.cold_kept = 1 or more keeps rows)"
            )


def _new_items(split: SplitOptions) -> Iterator[str]:
    """On cold items that keep no row."""
    if split.kind == "cold_items" and not split.cold_kept:
        yield (
            "cold items have no row in training (data.split.cold_kept = 0): no pre-training knows them, and what a method would "
            "train on them stays as it begins; attributes, and users borrowed from similar popular items, are all that tells them"
        )


def _waiting(domains: _Domains) -> Iterator[str]:
    """On items that came later, of which there are too few rows."""
    for domain in domains.values():
        for unit, items in domain.get("waiting", {}).items():
            have, are = ("items have", "they are") if items > 1 else ("item has", "it is")
            yield (
                f"{unit}: {items:,} {have} too few rows to validate and test with; no prompt is made now, and {are} new again to "
                "the next `tune --only-new` with a log that has more"
            )


def _untested(summary: Mapping[str, Any]) -> Iterator[str]:
    """On what the results will not have."""
    for name, domain in summary["domains"].items():
        if why := domain.get("untested"):
            yield f"{name}: {why}; it has no value in the results, and the mean over domains leaves it out"
    for unit, told in summary.get("units", {}).items():
        classes = told["classes"]
        if classes["unseen"]:
            yield f"{unit}: of the {classes['test']} classes of its test users nobody has {classes['unseen']} on whom it is tuned"
        if classes["test"] == 1:
            yield f"{unit}: all its test users have one class, so that always saying it is right"


def _total(domains: _Domains, name: str) -> dict[str, int]:
    """Counts by name, over all domains that have them."""
    total: dict[str, int] = {}
    for domain in domains.values():
        for key, count in domain.get(name, {}).items():
            total[key] = total.get(key, 0) + count
    return total
