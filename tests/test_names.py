"""No name leads out of its folder, and no two share a place in it, whatever anybody calls a domain, a feature or a row."""

from __future__ import annotations

import itertools
import re
import unicodedata
from pathlib import Path

import pytest

from raytune_rec import pipeline
from raytune_rec.config import parse
from raytune_rec.data.layout import domain_folder, vocabulary_file
from raytune_rec.data.preparing.preparation import prepare
from raytune_rec.data.sources.tabular import Tabular
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import ArtifactError, JobError, UserError
from raytune_rec.names import path_name
from raytune_rec.storage.files import read_json
from raytune_rec.tuning.packs.folder import PackFolder, folder_of
from raytune_rec.tuning.packs.packing import pack_name
from raytune_rec.tuning.search.space_files import compose

NASTY = [
    *("", ".", "..", "...", "/", "//etc/passwd", "../../x", "a/../b", "~", "~/x", "a\\b", "C:", "C:\\x", "x\0y", "\n", "a\nb"),
    *("CON", "con", "nul.txt", "COM1", "com9.tar.gz", "lpt3", "aux.", "_complete.json", "_begun.json", "_x", ".hidden", ".x.tmp"),
    *("Music", "music", "MUSIC", "musIc", "music ", " music", "music.", "music.json", "a b", "a-b", "a_b", "a.b", "a%20b", "a+b"),
    *("\u00e9", "e\u0301", "\u0431" * 200, "\u66f8" * 28, "\u66f8" * 27, "\U0001f600", "x" * 300, "x" * 299 + "y"),
    *("y" * 10_000, "x" * 40, "x" * 41),
    *("[bold]y", "b[/c]", "domain=x", "a=b", "*", "?", "<b>", "a|b", "a:b", "-rf", "--out", "\udc80"),
    "few.1", "joint.12", path_name("Music"), path_name("x" * 41), path_name(""), path_name("\u66f8" * 28),
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY, ids=repr)
def test_a_component_is_short_plain_and_stays_where_it_is(name: str, tmp_path: Path) -> None:
    part = path_name(name)
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,52}", part) and not part.endswith(".")
    assert (tmp_path / part).resolve().parent == tmp_path.resolve() and path_name(name) == part
    (tmp_path / f".{part}@{part}+3@r1000.b10.h10.p1000.json.abcdefgh.raytune.tmp").mkdir()  # the longest that is made of names


def test_two_names_never_share_a_component() -> None:
    folded = [unicodedata.normalize("NFC", path_name(name)).casefold() for name in NASTY]
    assert len(set(folded)) == len(set(NASTY)) == len(NASTY)


@pytest.mark.parametrize("name", ["few.1", "music", "joint.12", "a_b-c", "5", "x" * 40])
def test_a_short_plain_name_stays_readable(name: str) -> None:
    assert path_name(name) == name
    assert path_name("Wörter und Sätze").startswith("W-rter-und-S-tze-")


def test_packs_of_names_with_dots_and_signs_share_no_folder() -> None:
    names, units = ("x", "x.y", "y", "r0", "x@y", "x+1", "winner"), ("z", "y.z", "z+1", "z@r0", "winner", "r0.b0.h0.p0")
    groups = [[u] for u in units] + [[u, "other"] for u in units]
    places = (("r0", "b0", "h0", "p0"), ("winner",))
    made = [pack_name(row, group, *place) for row, group, place in itertools.product(names, groups, places)]
    assert len(set(made)) == len(made)
    assert pack_name("plate", ["few.1"], "r0", "b1") == "plate@few.1@r0.b1"


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "", ".", "..", "x\0", ".x"])
def test_a_pack_of_a_damaged_journal_leads_nowhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no name of a pack"):
        folder_of(tmp_path, name)
    assert PackFolder(tmp_path / "checkpoints" / "p", "key").taken_over([(name, 0)]) is None


def test_a_search_space_is_a_name_and_no_path(tmp_path: Path) -> None:
    (tmp_path / "search_spaces").mkdir()
    (tmp_path / "secret.toml").write_text('[space]\n"training.patience" = { type = "int", low = 1, high = 2 }\n')
    values = {"name": "x", "data": {"source": "synthetic"}, "backbone": {"name": "deepfm"}, "methods": {}}
    job = parse({**values, "components": [str(tmp_path)]})
    for name in ("../secret", str(tmp_path / "secret")):
        with pytest.raises(JobError, match="search space: there is no"):
            compose([name], job)


def test_features_and_domains_of_any_name_stay_in_the_store(tmp_path: Path) -> None:
    """Their files lie inside, two names never meet, and everything is read back by its true name."""
    features = [
        str(tmp_path / "outside"),
        "../../up",
        "Age",
        "age",
        "a" * 300,
        "\u5e74\u9f84",
        "x\\y",
        "[/b]",
        "con",
        "vocabulary",
    ]
    domains = ["Books", "books", "\u66f8" * 100, "x" * 3000, "domain=x", "a%2Fb", ".dot", "[bold]y"]
    log = tmp_path / "in" / "log.tsv"
    log.parent.mkdir()
    head = ["domain", "user", "item", "label", *(f"f{i}" for i in range(len(features)))]
    values = [[f"u{k % 5}", f"i{k % 4}", str(k % 2), *(f"{i}v{k % 3}" for i in range(len(features)))] for k in range(40)]
    rows = [[domain, *line] for domain in domains for line in values]
    log.write_text("\n".join("\t".join(row) for row in [head, *rows]) + "\n", encoding="utf-8")
    mapped = {name: {"role": "context", "column": f"f{i}"} for i, name in enumerate(features)}
    data = {"source": "tabular", "options": {"files": str(log), "features": mapped}}
    job = parse({"name": "x", "data": data, "backbone": {"name": "deepfm"}, "methods": {}})
    out = tmp_path / "a" / "b" / "data"
    prepare(job.data, Tabular(Tabular.Options(**job.data.options)), out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "in"] and [p.name for p in (tmp_path / "a").iterdir()] == ["b"]
    store = Store.open(out)
    assert sorted(store.schema.domains) == sorted(domains) == sorted(read_json(out / "schema.json")["domains"])
    assert sum(len(store.load(domain, split)) for domain in domains for split in ("train", "valid", "test")) == 40 * len(domains)
    for i, name in enumerate(features):
        assert sorted(store.vocabulary(name)["raw"].to_pylist()) == [f"{i}v{k}" for k in range(3)]
    assert len({domain_folder(out, d) for d in domains}) == len(domains)
    assert len({vocabulary_file(out, f).name.casefold() for f in features}) == len(features)
    assert len(list((out / "vocabulary").iterdir())) == len(features) + 3
    vocabulary_file(out, "Age").rename(out / "vocabulary" / "Age.parquet")  # as 0.1 called it
    assert sorted(Store.open(out).vocabulary("Age")["raw"].to_pylist()) == ["2v0", "2v1", "2v2"]


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/b", "..", "__init__", "base", "_deep"])
@pytest.mark.parametrize("part", ["prompt", "backbone", "objective", "source"])
def test_a_component_is_a_name_that_there_is_and_no_path(name: str, part: str, tmp_path: Path) -> None:
    """Only files of a component folder are ever run."""
    (tmp_path / "evil.py").write_text("raise SystemExit('run')")
    values = {
        "name": "x", "components": [str(tmp_path / "own")], "data": {"source": name if part == "source" else "synthetic"},
        "backbone": {"name": name if part == "backbone" else "deepfm"}, "pretrainings": {"p": {}},
        "methods": {"m": {"strategy": "prompt", "prompt": name if part == "prompt" else "plate", "pretraining": "p"}},
        "training": {"objective": name} if part == "objective" else {},
    }  # fmt: skip
    with pytest.raises(UserError) as refused:
        pipeline.check(parse(values))
    assert repr(name) in str(refused.value)
