"""Numbers as text, and the verdict in plain sentences. It says what the tests allow and no more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from raytune_rec.data.cold_items import AMONG, JOINED
from raytune_rec.evaluation.comparisons import MEAN
from raytune_rec.report.run import Run, best_of, higher, many, metric_of, title

Outcome = Literal["ahead", "leaning", "open", "trailing", "behind"]
NONE = "\N{EN DASH}"
NARROW = "\N{NARROW NO-BREAK SPACE}"
"""Between thousands; it does not break."""
_NAMED = 3
"""Most methods that a headline names of those that came out alike."""


def fixed(value: float | None) -> str:
    return NONE if value is None or math.isnan(value) else f"{value:.4f}"


def signed(value: float | None) -> str:
    """With its sign; a minus is a real minus, as wide as the plus."""
    return NONE if value is None else f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def p_value(value: float | None) -> str:
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def counted(number: int, noun: str) -> str:
    """`1 domain`, `3 domains`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def count(value: float | None) -> str:
    return NONE if value is None else f"{round(value):,}".replace(",", NARROW)


def were(number: int) -> str:
    return f"{count(number)} {'was' if number == 1 else 'were'}"


def percent(share: float | None) -> str:
    if share is None:
        return NONE
    return "0 %" if share == 0 else f"{100 * share:.3g} %"


def duration(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def option(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def listed(names: Sequence[str], last: str = "and") -> str:
    return f"{', '.join(names[:-1])} {last} {names[-1]}" if len(names) > 1 else "".join(names)


def place(unit: str) -> str:
    return "on average over domains" if unit == MEAN else f"in {unit}"


def tied(results: Mapping[str, Any], unit: str, before: str = "") -> str:
    """A note on methods that are constant on a unit; empty where there are none."""
    methods, kind = results["units"].get(unit, {}).get("tied", ()), results.get("kind")
    if not methods:
        return ""
    s, who = "s" if len(methods) == 1 else "", f"{before}{listed(methods)}"
    if kind == "classes":
        return f"{who} predict{s} one class for all users {place(unit)}, in a replicate or more: nothing is told apart there."
    if kind == "lists":
        return f"{who} score{s} all candidates of a list the same {place(unit)} (no history, and nothing else known): chance."
    return f"{who} score{s} all rows the same {place(unit)}, in a replicate or more: nothing is told apart there."


def candidates(results: Mapping[str, Any]) -> str:
    """What the positives of all units are ranked among."""
    protocol, start = results["protocol"], "candidates of "
    others = (f"; of {name.removeprefix(start)}: {among}" for name, among in protocol.items() if name.startswith(start))
    return f"candidates: {protocol['candidates']}{''.join(others)}"


def pooled(run: Run, before: str = "", after: str = "") -> str:
    """Which units pool several searches; empty where none does."""
    said = [f"{unit} pools {len(folds)} {run.pools}s" for unit, folds in run.folds.items()]
    if set(run.folds) == set(run.units) and len(counts := {len(folds) for folds in run.folds.values()}) == 1:
        said = [f"Each {run.unit_word} pools {counts.pop()} {run.pools}s"]
    return f"{before}{listed(said)}{after}" if said else ""


def spread(results: Mapping[str, Any]) -> str:
    """What every interval holds, and what it leaves out."""
    everywhere = ", each with all their rows in every one of the units" if len(results["units"]) > 1 else ""
    resampled = f"by user (users are drawn {results['protocol']['bootstrap']:,} times{everywhere})"
    return f"Every interval and p-value is {resampled}, with the variance between trainings added. {under(results)}".rstrip()


def under(results: Mapping[str, Any]) -> str:
    """How many pre-trainings stand under the methods; empty where all start from scratch."""
    counts = {method: facts["pretrainings"] for method, facts in results["methods"].items() if facts["pretrainings"]}
    single = [method for method, n in counts.items() if n == 1]
    if not counts:
        return ""
    if not single:
        return f"{min(counts.values())} pre-trainings or more stand under each method that starts from one; each counts the same."
    methods = "every method that starts from one" if len(single) == len(counts) else listed(single)
    return f"One pre-training stands under {methods}: its variance is in no interval."


def averaged(results: Mapping[str, Any], metric: str, before: str = "") -> str:
    """Which units the mean over units leaves out; empty where it takes all."""
    counted = results.get("averaged", {}).get(metric)
    if counted is None:
        return ""
    gone = listed([u for u in results["units"] if u not in counted])
    over = listed(counted) or "nothing"
    return f"{before}The mean is over {over}: there is no {title(metric)} in {gone}, whose test rows have one class."


def untested(results: Mapping[str, Any], before: str = "") -> str:
    """Which units have no result, and why; empty where all have one. Those that `averaged` names are not told again."""
    told = results.get("averaged", {}).values()
    gone = {u: why for u, why in results.get("untested", {}).items() if u not in results["units"] or not told}
    if not gone:
        return ""
    left = len([u for u in results["units"] if u not in gone])
    over = f", and the mean is over the other {left}" if left > 1 and MEAN in results["winners"] and not told else ""
    return f"{before}No result in {listed([f'{unit} ({why})' for unit, why in gone.items()])}{over}."


def not_compared(results: Mapping[str, Any], before: str = "") -> str:
    """Comparisons that could not be made; empty where all were."""
    said = [f"{c['method']} with {c['baseline']} {place(c['unit'])} ({c['why']})" for c in results.get("not_compared", ())]
    return f"{before}Not compared: {'; '.join(said)}." if said else ""


def outcome(comparison: Mapping[str, Any], confidence: float) -> Outcome:
    """`ahead`: the interval by user is above zero and so it stays after correction; `leaning`: above zero before correction only;
    `behind`: below zero after correction; `trailing`: below zero before it only; `open`: none of these."""
    low, high, p = comparison["low"], comparison["high"], comparison["p_holm"]
    if low is None or high is None or p is None:
        return "open"
    if low > 0:
        return "ahead" if p < 1 - confidence else "leaning"
    if high < 0:
        return "behind" if p < 1 - confidence else "trailing"
    return "open"


@dataclass(frozen=True)
class Verdict:
    """What the run shows.

    Args:
        headline: one sentence. points: (lead-in, sentences).
    """

    headline: str
    points: Sequence[tuple[str, str]]


def verdict(run: Run) -> Verdict:
    """What the run shows, for the claiming method that validation likes best: on the mean over units or, without it, on each."""
    leads = leaders(run)
    comparisons = [c for c in run.results["comparisons"] if leads.get(c["unit"]) == c["method"]]
    if not comparisons:
        return Verdict(_untested(run), [])
    told = [MEAN] if many(run.results) and MEAN in leads else leads
    points = [(_capital(place(u)), _against_strongest(run, comparisons, u)) for u in told]
    if beyond := _beyond_linear(run, [c for c in comparisons if metric_of(c) == run.lead]):
        points.append(("Beyond the linear part", beyond))
    points.append(("How sure", _how_sure(run)))
    return Verdict(_headline(run, leads, comparisons), points)


def leaders(run: Run) -> dict[str, str]:
    """Unit of a comparison -> the claiming method with the best validation value, so that the test rows do not choose whom the
    verdict is about. Where there is a mean over units, its best method speaks everywhere."""
    claims: dict[str, list[str]] = {}
    for c in run.results["comparisons"]:
        claims.setdefault(c["unit"], []).append(c["method"])
    if not run.averaged:
        return {unit: _leader(run, methods, unit) for unit, methods in claims.items()}
    every = [method for methods in claims.values() for method in methods]
    return {unit: lead for unit, methods in claims.items() if (lead := _leader(run, every, MEAN)) in methods}


def _leader(run: Run, claims: Sequence[str], unit: str) -> str:
    values = {r: run.measures(r, unit).get("valid") for r in run.methods if r in claims}
    known = {r: v if run.higher else -v for r, v in values.items() if v is not None}
    return max(known, key=lambda r: known[r]) if known else claims[0]


def _untested(run: Run) -> str:
    units = [MEAN] if run.averaged else run.units
    best = {u: method for u in units if (method := best_of(run.results, u))}
    nothing = not_compared(run.results) or "No method claims to be better than another, so no difference was tested."
    if not best:
        return f"No method has a test value{' in every domain' if run.averaged else ''}, so there is no best one."
    metric, most = title(run.own), "highest" if higher(run.own) else "lowest"
    if run.averaged:
        return f"{best[MEAN]} has the {most} mean test {metric}. {nothing}"
    return f"{_capital(listed([f'{place(u)} {method}' for u, method in best.items()]))} has the {most} test {metric}. {nothing}"


def _headline(run: Run, leads: Mapping[str, str], comparisons: Sequence[Mapping[str, Any]]) -> str:
    said, confidence = [], run.results["protocol"]["confidence"]
    single = [u for u in leads if u not in (MEAN, *JOINED, *AMONG)] or list(leads)
    shown = [MEAN] if many(run.results) and MEAN in leads else single
    for lead in dict.fromkeys(leads[u] for u in shown):
        groups, kinds = dict[str, list[str]](), set[frozenset[str]]()
        for unit in [u for u in shown if leads[u] == lead]:
            here = [c for c in comparisons if c["unit"] == unit and metric_of(c) == run.lead]
            groups.setdefault(_standing(run, here), []).append(unit)
            kinds.add(frozenset(_decided(outcome(c, confidence)) for c in here))
        parts = [f"{how} {place(MEAN) if names == [MEAN] else f'in {listed(names)}'}" for how, names in groups.items()]
        last = "and" if len(kinds) == 1 else "but"
        if last == "and" and len(parts) > 1 and any(" and " in how for how in groups):  # said of one place too
            parts[-2] += ","
        said.append(f"{lead} is {listed(parts, last)}")
    return f"{f'By {title(run.lead)}, ' if len(run.compared) > 1 else ''}{'; '.join(said)}."


def _decided(found: Outcome) -> Outcome:
    """As a headline tells it: what does not stand after correction is open."""
    return found if found in ("ahead", "behind") else "open"


def _standing(run: Run, comparisons: Sequence[Mapping[str, Any]]) -> str:
    confidence = run.results["protocol"]["confidence"]
    outcomes = {c["baseline"]: _decided(outcome(c, confidence)) for c in comparisons}
    ahead = [b for b, o in outcomes.items() if o == "ahead"]
    behind = [b for b, o in outcomes.items() if o == "behind"]
    undecided = [b for b, o in outcomes.items() if o == "open"]
    if len(ahead) == len(outcomes):
        return f"better than all {len(ahead)} baselines" if len(ahead) > 1 else f"better than {ahead[0]}"
    parts = [f"better than {len(ahead)} of {len(outcomes)} baselines"] if ahead else []
    if undecided:
        all_of_them = len(undecided) == len(outcomes) > 2
        parts.append(f"not clearly different from {'any baseline' if all_of_them else _some(undecided, len(outcomes), 'or')}")
    return listed(parts + ([f"worse than {_some(behind, len(outcomes))}"] if behind else []))


def _some(names: Sequence[str], of: int, last: str = "and") -> str:
    """Their names, or how many there are."""
    return listed(names, last) if len(names) <= _NAMED else f"{len(names)} of {of} baselines"


def _against_strongest(run: Run, comparisons: Sequence[Mapping[str, Any]], unit: str) -> str:
    """The strongest baseline by each metric, and what lies between."""
    sentences = []
    for metric in run.compared:
        here = [c for c in comparisons if c["unit"] == unit and metric_of(c) == metric]
        compared = {c[side] for c in here for side in ("method", "baseline")}
        level = {method: run.measures(method, unit).get(metric, {}).get("mean") for method in compared}
        strongest = max(here, key=lambda c: level[c["baseline"]] or 0.0)
        method, baseline = strongest["method"], strongest["baseline"]
        sentences.append(
            f"{method} has {title(metric)} {fixed(level[method])}, the strongest baseline {baseline} {fixed(level[baseline])}: "
            f"{difference(run, strongest)}"
        )
    return " ".join(sentences)


def difference(run: Run, c: Mapping[str, Any]) -> str:
    """A comparison in words, with its interval; two methods that are equal on every row have none."""
    if c["low"] is None and c["difference"] == 0:
        return "equal on every row."
    confidence = run.results["protocol"]["confidence"]
    number = f"{signed(c['difference'])} ({confidence * 100:g} % interval {signed(c['low'])} to {signed(c['high'])})"
    unsure = f"does not stand after correction for {len(run.results['comparisons'])} comparisons"
    said = {
        "ahead": "a clear gain",
        "leaning": f"a gain that {unsure}",
        "trailing": f"a loss that {unsure}",
        "open": "no clear difference",
        "behind": "a clear loss",
    }
    return f"{number}, {said[outcome(c, confidence)]}."


def linear_methods(run: Run) -> list[str]:
    """Methods that train a linear part and no prompt: what a prompt has to add to."""
    methods = run.results["methods"]
    return [r for r in run.methods if methods[r]["backbone"] == "linear" or methods[r]["strategy"].partition(":")[2] == "linear"]


def _beyond_linear(run: Run, comparisons: Sequence[Mapping[str, Any]]) -> str:
    sentences = []
    for baseline in linear_methods(run):
        here = {c["unit"]: c for c in comparisons if c["baseline"] == baseline}
        if MEAN in here:
            parts = listed([f"{signed(c['difference'])} in {u}" for u, c in here.items() if u != MEAN])
            each = "" if many(run.results) else f" Domain by domain: {parts}."
            sentences.append(f"Against {baseline}, {place(MEAN)}: {difference(run, here[MEAN])}{each}")
        else:
            sentences += [f"Against {baseline} in {u}: {difference(run, c)}" for u, c in here.items()]
    return " ".join(sentences)


def _how_sure(run: Run) -> str:
    p = run.results["protocol"]
    measures = [m for r in run.results["methods"].values() for m in r["units"].values()]
    replicates = max((len(m[run.lead]["replicates"]) for m in measures), default=0)
    sizes = {u: p["rows"].get(u) for u in run.units}
    tested = listed([f"{count(n)} in {u}" for u, n in sizes.items()])
    if many(run.results):
        tested = f"{count(min(sizes.values()))} to {count(max(sizes.values()))} in each of {len(sizes)} {run.unit_word}s"
    trained = f"{replicates} replicates of each trained method" if replicates != 1 else "One run of each method"
    what = "users" if run.classes else "lists" if run.lists else "rows"
    return (
        f"{trained}; test {what}: {tested}, of {count(run.results['users'])} different users. Differences are paired on the same "
        f"{what}. {spread(run.results)} P-values are corrected for all {len(run.results['comparisons'])} comparisons (Holm). "
        f"Validation chose every winner; the test {what} were used once.{not_compared(run.results, ' ')}"
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
