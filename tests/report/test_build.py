"""The page: its numbers are those of results.json, it needs no network, and it copes with what is missing."""

import copy
import html
import itertools
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from raytune_rec.errors import ArtifactError
from raytune_rec.report.page.render import build
from raytune_rec.report.words import signed
from tests.report.conftest import ROWS, UNITS, write


class _Tables(HTMLParser):
    """The cells of every table, first lines only."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.below = 0
        self.open = False

    def handle_starttag(self, tag: str, attrs: list) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.open = True
        elif tag == "small":
            self.below += 1

    def handle_endtag(self, tag: str) -> None:
        self.below -= tag == "small"
        if tag in ("td", "th"):
            self.open = False

    def handle_data(self, data: str) -> None:
        if self.open and not self.below:
            self.tables[-1][-1][-1] += data.strip()


def _tables(page: str) -> list[list[list[str]]]:
    parser = _Tables()
    parser.feed(page)
    return parser.tables


def test_the_table_holds_the_values_of_the_results_in_the_jobs_order(page: str, content: dict) -> None:
    results = content["results"]
    head, *lines = _tables(page)[0]
    places = [(unit, metric) for unit in ("music", "book", "movie", "mean") for metric in ("auc", "logloss")]
    heads = [unit if metric == "auc" else f"{unit}: log loss" for unit, metric in places]
    assert head == ["method", *heads, "trials", "tuned", "search"], "log loss next to AUC"
    assert [line[0] for line in lines] == results["method_order"]
    for name, *cells in lines:
        row = results["methods"][name]
        values = [{**row["units"], "mean": row["mean"]}[unit][metric]["mean"] for unit, metric in places]
        assert cells[:9] == [*(f"{v:.4f}" for v in values), str(row["trials"])]
    for name in results["method_order"]:
        for m in results["methods"][name]["units"].values():
            assert f"{m['auc']['low']:.4f} to {m['auc']['high']:.4f}" in page


def test_the_best_of_a_column_is_marked(page: str, content: dict) -> None:
    winner = content["results"]["winners"]["music"]["test"]
    value = content["results"]["methods"][winner]["units"]["music"]["auc"]["mean"]
    assert re.search(rf'<td class="best">{value:.4f}<small>', page)
    lowest = min(method["mean"]["logloss"]["mean"] for method in content["results"]["methods"].values())
    assert re.search(rf'<td class="best">{lowest:.4f}<small>', page), "of log loss the lowest"


def test_every_comparison_stands_in_its_table(page: str, content: dict) -> None:
    table = next(t for t in _tables(page) if "p, Holm" in t[0])
    found = content["results"]["comparisons"]
    assert [(c["method"], c["baseline"], c["unit"], signed(c["difference"])) for c in found] == [
        tuple(line[:4]) for line in table[1:]
    ]
    assert [f"{signed(c['low'])} to {signed(c['high'])}" for c in found] == [line[4] for line in table[1:]]


def test_the_page_reaches_for_nothing_outside(page: str) -> None:
    assert "http:" not in page and "https:" not in page and "//" not in re.sub(r"/\*.*?\*/", "", page)
    assert not re.findall(r"<(?:link|img|iframe)\b", page) and "@import" not in page and " src=" not in page
    assert re.findall(r"<script[^>]*>", page) == ["<script>"]  # its own, written out
    targets = re.findall(r'href="([^"]*)"', page)
    assert targets and all(target.startswith(("#", "../")) for target in targets)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))


@pytest.fixture(scope="module")
def other(content: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run whose job is measured by its log loss, with CSV, an artifact and a constant model."""
    results = copy.deepcopy(content["results"])
    results["units"]["book"]["tied"] = ["single"]
    results["protocol"]["metric"] = "logloss"
    folder = write(content | {"results": results}, tmp_path_factory.mktemp("other"))
    (folder / "artifacts" / "music").mkdir(parents=True)
    (folder / "artifacts" / "music" / "prompt.json").write_text("{}")
    return build(folder)


def test_links_lead_to_what_there_is(other: Path) -> None:
    """To the files and artifacts of the run folder, and to every section."""
    text = other.read_text(encoding="utf-8")
    outside = re.findall(r'href="(\.\./[^"]*)"', text)
    names = ["results.csv", "trials.csv", "results.json", "trials.json", "job.toml", "artifacts/music/"]
    assert outside == [f"../{name}" for name in names] and all((other.parent / target).exists() for target in outside)
    contents = re.findall(r'<li><a href="#(\w+)">', text)
    assert contents == re.findall(r'<h2 id="(\w+)">', text) and contents[0] == "results"


def test_a_constant_model_is_a_warning(other: Path) -> None:
    warning = "single scores all rows the same in book, in a replicate or more: nothing is told apart there."
    found = re.findall(r'<p class="warning">(.*?)</p>', other.read_text(encoding="utf-8"))
    assert found == [f"<strong>Constant:</strong> {warning}"]


def test_the_jobs_own_metric_stands_first_and_once(content: dict, other: Path) -> None:
    page = other.read_text(encoding="utf-8")
    methods = content["results"]["methods"]
    first, *others = _tables(page)
    values = {name: [methods[name]["units"][u]["logloss"]["mean"] for u in UNITS] for name in ROWS}
    assert first[0][1:5] == ["music", "music: AUC", "book", "book: AUC"]
    assert {line[0]: line[1:7:2] for line in first[1:]} == {name: [f"{v:.4f}" for v in of] for name, of in values.items()}
    further = next(table for table in others if "music: user AUC" in table[0])
    assert "music: AUC" not in further[0] and not any("log loss" in head for head in further[0])
    assert f'<td class="best">{min(of[0] for of in values.values()):.4f}<small>' in page


def test_charts_tell_their_values_at_the_places_of_their_points(page: str, content: dict) -> None:
    """The winner's curve of a unit: values as in trials.json, later epochs further right, better ones higher."""
    panel = re.search(r'<svg [^>]*aria-label="Learning curves in music[^>]*>', page)
    assert panel
    told = [line.split(" ", 2) for line in re.findall(r'data-tips="([^"]*)"', panel[0])[0].split("\n")]
    best = max((t for t in content["trials"] if (t["method"], t["unit"]) == ("linear", "music") and t["value"]),
               key=lambda t: t["value"])  # fmt: skip
    mine = [(float(x), float(y), text) for x, y, text in told if text.startswith("linear, ")]
    assert [text for *_, text in mine] == [f"linear, epoch {e}: {v:.4f}" for e, v in enumerate(best["curve"])]
    steps = [b[0] - a[0] for a, b in itertools.pairwise(mine)]
    assert all(abs(step - steps[0]) < 0.21 for step in steps) and steps[0] > 0
    by_value = sorted(zip(best["curve"], (y for _, y, _ in mine), strict=True))
    assert all(a[1] >= b[1] for a, b in itertools.pairwise(by_value))


def test_ids_are_unique_and_what_refers_to_them_finds_them(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", page)) | set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_every_chart_has_a_text_with_its_numbers(page: str, content: dict) -> None:
    labels = re.findall(r'<svg role="img" aria-label="([^"]*)"', page)
    assert len(labels) == page.count("<svg") > 15
    found = next(c for c in content["results"]["comparisons"] if c["unit"] == "book")
    assert any(f"{found['method']} minus {found['baseline']} {signed(found['difference'])}" in label for label in labels)


def test_text_of_the_run_is_escaped(page: str) -> None:
    assert "<title>An invented &lt;run&gt; &amp; its report</title>" in page and "<run>" not in page


def test_options_of_the_prompt_are_drawn_without_being_named_in_code(page: str) -> None:
    for name in ("prompt.tokens", "prompt.heat", "training.lr.linear"):
        assert f"<code>{name}</code>" in page
    assert "<code>prompt.kind</code>" not in page  # it is no number
    assert re.search(r"Effect of prompt.tokens in music: [^\"]*soft_prompt_linear does best at \d+", page)


def test_provenance(page: str) -> None:
    for text in (
        "cd &#39;/some where&#39; &amp;&amp; raytune-rec run runs/invented/job.toml --out runs/invented-again",
        "versions.torch",
        "f00d",
        "trials = 16",
        "92\u202f000 rows a second",
        "abc",
    ):
        assert text in page, text
    assert "secret.tensor" not in page


@pytest.mark.parametrize("named", ["/my files/it's one", "/data/one", "s3://bucket/one"])
def test_the_command_that_repeats_a_run_is_read_by_a_shell(folder: Path, named: str) -> None:
    (folder / "run.json").write_text(json.dumps({"raytune_rec": "0", "started_in": "/my files", "folder": named}))
    (line,) = re.findall(r'<pre id="repeat">(.*?)</pre>', build(folder).read_text(encoding="utf-8"))
    run = named.removeprefix("/my files/")
    command = ["raytune-rec", "run", f"{run}/job.toml", "--out", f"{run}-again"]
    assert shlex.split(html.unescape(line)) == ["cd", "/my files", "&&", *command]


def test_the_command_that_repeats_a_submitted_run_names_no_folder_that_ray_removes(folder: Path) -> None:
    package = "/tmp/ray/session_1/runtime_resources/working_dir_files/_ray_pkg_1"
    (folder / "run.json").write_text(json.dumps({"raytune_rec": "0", "started_in": package, "folder": "s3://bucket/one"}))
    (line,) = re.findall(r'<pre id="repeat">(.*?)</pre>', build(folder).read_text(encoding="utf-8"))
    assert line == "raytune-rec run s3://bucket/one/job.toml --out s3://bucket/one-again"


def test_a_finished_backbone_is_not_told_as_a_training_that_took_no_time(folder: Path) -> None:
    facts = json.loads((folder / "pretrain.json").read_text())
    taken = {"seconds": 0.0, "rows_per_second": 0.0, "parameters": 0, "from": "/elsewhere"}
    (folder / "pretrain.json").write_text(json.dumps(facts | {"plain": facts["plain"] | taken}))
    page = build(folder).read_text(encoding="utf-8")
    assert "5 epochs; a finished backbone, trained in another run; 4 recipes tried" in page
    assert not re.search(r"\b0 (parameters|s|rows a second)\b", page)


def test_equal_folders_give_equal_pages(folder: Path, page: str) -> None:
    assert build(folder).read_text(encoding="utf-8") == page


def test_optional_files_may_be_missing(folder: Path) -> None:
    for name in ("trials.json", "pretrain.json", "backbones/abc/backbone.json"):
        (folder / name).unlink()
    page = build(folder).read_text(encoding="utf-8")
    assert 'id="results"' in page and 'id="comparisons"' in page and 'id="costs"' in page
    assert not any(f'id="{name}"' in page for name in ("learning", "search", "effects"))


def test_few_trials_failed_trials_and_values_that_are_missing(folder: Path, content: dict) -> None:
    few = [t for t in content["trials"] if t["number"] < 1]
    (folder / "trials.json").write_text(
        json.dumps([t | {"value": None, "state": "FAILED"} if t["method"] == "single" else t for t in few])
    )
    results = copy.deepcopy(content["results"])
    del results["methods"]["single"]["units"]["book"], results["methods"]["single"]["mean"]
    results["methods"]["linear"]["units"]["book"]["auc"] = {
        "mean": None,
        "low": None,
        "high": None,
        "sd": None,
        "replicates": [None],
    }
    for c in results["comparisons"]:
        if c["baseline"] == "linear" and c["unit"] == "book":
            c |= {k: None for k in ("difference", "low", "high", "p", "p_holm")}
    results["comparisons"] = [c for c in results["comparisons"] if (c["baseline"], c["unit"]) != ("single", "book")]
    (folder / "results.json").write_text(json.dumps(results))
    page = build(folder).read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", page, flags=re.IGNORECASE) and "None" not in page
    assert 'id="effects"' not in page and "\N{EN DASH}" in page
    for figure in re.findall(r"<figure>(.*?)</figure>", page, flags=re.DOTALL):  # a dash is explained where one stands
        table, caption = figure.partition("<figcaption>")[::2]
        assert "<table" not in table or ("\N{EN DASH}" in table) <= ("\N{EN DASH}: " in caption)


def test_a_folder_without_results_is_refused(folder: Path) -> None:
    (folder / "results.json").unlink()
    with pytest.raises(ArtifactError, match=r"results\.json"):
        build(folder)


def test_results_of_another_format_are_refused(folder: Path) -> None:
    (folder / "results.json").write_text('{"format": 99}')
    with pytest.raises(ArtifactError, match=r"format 99; this version reads 3\. Run the job again in another --out folder"):
        build(folder)


def test_damaged_trials_are_refused(folder: Path) -> None:
    (folder / "trials.json").write_text('[{"method": "x"}]')
    with pytest.raises(ArtifactError, match="not a list of trials"):
        build(folder)
