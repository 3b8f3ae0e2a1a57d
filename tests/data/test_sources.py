"""The contract that every source keeps, and what each gives."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from raytune_rec import components
from raytune_rec.data.sources.base import ROW_COLUMNS, Source
from raytune_rec.data.sources.synthetic import Synthetic
from raytune_rec.errors import DataError, JobError
from raytune_rec.schema.prepared import ALL_DOMAINS, SPLITS
from raytune_rec.storage.objects import store
from tests.data.test_published import FORMATS, lines_of

LOG = [f"{d},u{u},i{i},{(u * i) % 2},{u % 3},{10 * u + i},a|b" for d in ("x", "y") for u in range(8) for i in range(6)]
HEADER = "domain,user,item,label,colour,age,tags"
FEATURES = {
    "colour": {"role": "user"},
    "age": {"role": "context", "kind": "numerical"},
    "tags": {"role": "item", "kind": "multi"},
}


@pytest.fixture(params=components.names("data.sources"))
def source(request: pytest.FixtureRequest, write, tmp_path: Path) -> tuple[str, dict]:
    if request.param == "synthetic":
        return "synthetic", {"interactions": {"a": 300, "b": 200}, "users": 30, "items": 20}
    if request.param == "tabular":
        return "tabular", {"files": write("log.csv", [HEADER, *LOG]), "features": FEATURES}
    if request.param == "douban":
        folder = tmp_path / "douban"
        for name in ("music", "book"):
            (folder / f"douban_{name}").mkdir(parents=True)
            rows = [f"{u}\t{i}\t{(u + i) % 5 + 1}" for u in range(1, 20) for i in range(1, 15)]
            (folder / f"douban_{name}" / "ratings.dat").write_text("\n".join(rows) + "\n")
        (folder / "douban_movie_part").mkdir()
        for part in ("val", "test"):
            text = "0,1,2,3\n" + "".join(f"2,{u},{i},{(u + i) % 2}\n" for u in range(19) for i in range(100, 110))
            (folder / "douban_movie_part" / f"douban_movie_{part}.csv.gz").write_bytes(gzip.compress(text.encode()))
        return "douban", {"path": str(folder)}
    if request.param == "movielens":
        folder = tmp_path / "movielens"
        folder.mkdir()
        rows = [f"{u}::{i}::{(u + i) % 5 + 1}::{97 * u + i}" for u in range(1, 20) for i in range(1, 15)]
        (folder / "ratings.dat").write_text("\n".join(rows) + "\n")
        (folder / "users.dat").write_text("".join(f"{u}::{'FM'[u % 2]}::25::{u}::{u}8067\n" for u in range(1, 20)))
        (folder / "movies.dat").write_text("".join(f"{i}::Film {i} ({1980 + i})::Drama|War\n" for i in range(1, 15)))
        return "movielens", {"path": str(folder), "edition": "1m"}
    if request.param == "amazon":
        for name in ("Beauty", "Toys"):
            (tmp_path / "amazon" / name).mkdir(parents=True)
            rows = [f"A{u} " + " ".join(f"B{(u + i) % 12}" for i in range(8)) for u in range(20)]
            text = "\n".join(rows) + "\n"
            (tmp_path / "amazon" / name / "user_sequence.txt.gz").write_bytes(gzip.compress(text.encode()))
        return "amazon", {"path": str(tmp_path / "amazon"), "domains": ["Beauty", "Toys"]}
    if request.param == "amazon_ctr":
        (tmp_path / "ctr").mkdir()
        rows = [f"A{u} " + " ".join(f"B{(3 * u + i) % 24}" for i in range(8)) for u in range(40)]
        (tmp_path / "ctr" / "log.txt").write_text("\n".join(rows) + "\n")
        return "amazon_ctr", {"path": str(tmp_path / "ctr"), "logs": {"a": "log.txt"}, "parts": 2, "valid": 0, "test": 0}
    if request.param == "amazon_text":
        rows = [{"reviewerID": f"A{u}", "asin": f"B{(u + i) % 12}", "overall": 4, "unixReviewTime": 99 * u + i}
                for u in range(20) for i in range(8)]  # fmt: skip
        log = write("reviews.jsonl", [json.dumps(row) for row in rows])
        items = write("meta.jsonl", [json.dumps({"asin": f"B{i}", "title": f"Pen {i}"}) for i in range(12)])
        return "amazon_text", {"domains": {"pens": {"log": log, "items": items}, "ink": {"log": log, "items": items}}}
    if request.param in FORMATS:
        return request.param, {"files": write(f"{request.param}.csv", lines_of(request.param))}
    raise AssertionError(f"say here how a tiny {request.param} is made")


def opened(name: str, options: dict) -> Source:
    return components.component("data.sources", name)(components.options_of("data.sources", name, options))


def test_blocks_keep_the_contract(source: tuple[str, dict]) -> None:
    reader = opened(*source)
    blocks = list(reader.read())
    context = {f.name for f in reader.fields() if f.role == "context"}
    columns = set(blocks[0].table.column_names)
    assert {"domain", "user", "item"} <= columns <= {*ROW_COLUMNS, *context} and columns & {"label", "rating"}
    for block in blocks:
        assert set(block.table.column_names) == columns
        assert len(block.lines) == len(block.table) and block.file
    for role, features in (("user", reader.users()), ("item", reader.items())):
        named = {f.name for f in reader.fields() if f.role == role}
        assert all({role, *named} <= set(block.table.column_names) for block in features)
    json.dumps(reader.fingerprint_inputs())


def test_what_lies_in_an_object_store_is_fetched_when_it_is_read_and_nothing_beside_it(
    source: tuple[str, dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, options = source
    here = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    monkeypatch.setenv("RAYTUNE_REC_CACHE", str(tmp_path / "cache"))
    uri = f"memory://{tmp_path.name}"
    for file in here:
        store("memory").pipe_file(f"{tmp_path.name}/{file}", (tmp_path / file).read_bytes())
        store("memory").pipe_file(f"{tmp_path.name}/{Path(file).parent.as_posix()}/other.bin", b"of no source")
    reader = opened(name, json.loads(json.dumps(options).replace(str(tmp_path), uri)))
    assert not (tmp_path / "cache").exists(), "nothing is read yet"
    alike = opened(name, options)
    for ours, local in ((reader.read, alike.read), (reader.users, alike.users), (reader.items, alike.items)):
        assert [block.table for block in ours()] == [block.table for block in local()]
    assert reader.fingerprint_inputs() == alike.fingerprint_inputs()
    copies = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and "tags" not in path.parts]
    assert len(copies) == len(here) and "other.bin" not in {path.name for path in copies}


def test_store_is_complete_and_reading_twice_gives_it_twice(source: tuple[str, dict], make, tmp_path: Path) -> None:
    first, second = make(*source, out="first"), make(*source, out="second")
    for path in sorted(p.relative_to(first.path) for p in first.path.rglob("*") if p.is_file()):
        assert (first.path / path).read_bytes() == (second.path / path).read_bytes(), path
    train = first.load(ALL_DOMAINS, "train")
    assert len(train) == sum(first.schema.rows[d, "train"] for d in first.schema.domains) > 0
    for field in first.schema.fields:
        column = train.columns[field.name]
        if field.kind == "numerical":
            assert column.dtype == np.float32 and len(field.edges) == field.size - 2
        else:
            assert column.dtype == np.int64 and column.min() >= 0 and column.max() < field.size
            assert column.shape == ((len(train), field.length) if field.kind == "multi" else (len(train),))
            assert first.vocabulary(field.name)["id"].to_pylist() == list(range(1, field.size))
    for split in SPLITS:
        for domain in first.schema.domains:
            table = first.load(domain, split)
            assert len(table) == first.schema.rows[domain, split]
            assert set(table.label.tolist()) <= {0.0, 1.0}


def test_raw_rows_encode_to_the_ids_of_the_store(source: tuple[str, dict], make) -> None:
    store = make(*source)
    reader = opened(*source)
    names = ["domain", "user", "item", *(f.name for f in reader.fields() if f.role == "context")]
    raw = pd.concat([b.table.select(names).to_pandas() for b in reader.read()])
    columns = store.encode({name: raw[name].tolist() for name in names})
    tables = [store.load(ALL_DOMAINS, split) for split in SPLITS]
    for field in store.schema.fields:
        stored = np.concatenate([t.columns[field.name] for t in tables])
        assert sorted(map(str, stored.tolist())) == sorted(map(str, columns[field.name].tolist())), field.name
    place = columns["user"] > 0
    raws = np.array(["", *store.vocabulary("user")["raw"].to_pylist()])
    assert (raws[columns["user"]][place] == raw["user"].astype(str).to_numpy()[place]).all() and place.mean() > 0.9


def test_synthetic_labels_follow_the_truth_and_domains_differ() -> None:
    source = Synthetic(Synthetic.Options())
    rows = pd.concat([b.table.to_pandas() for b in source.read()])
    p = source.truth(rows["domain"].to_numpy(), rows["user"].to_numpy(), rows["item"].to_numpy())
    tenth = np.digitize(p, np.quantile(p, np.arange(0.1, 1, 0.1)))
    assert abs(rows["label"].groupby(tenth).mean() - pd.Series(p).groupby(tenth).mean()).max() < 0.02
    assert roc_auc_score(rows["label"], p) > 0.75
    search = source.truth(np.full(len(rows), "search"), rows["user"].to_numpy(), rows["item"].to_numpy())
    feed = source.truth(np.full(len(rows), "feed"), rows["user"].to_numpy(), rows["item"].to_numpy())
    assert 0.2 < np.corrcoef(search, feed)[0, 1] < 0.8
    alike = Synthetic(Synthetic.Options(strength=0.0))
    u, i = rows["user"].to_numpy(), rows["item"].to_numpy()
    assert np.array_equal(alike.truth(np.full(len(rows), "search"), u, i), alike.truth(np.full(len(rows), "feed"), u, i))


def test_douban_counts(douban: str, make) -> None:
    store = make("douban", {"path": douban})
    domains = json.loads((store.path / "summary.json").read_text())["domains"]
    assert [(d["rows"], d["users"], d["items"]) for d in domains.values()] == [
        (69_709, 1_672, 5_567),
        (96_041, 2_110, 6_777),
        (226_684, 2_647, 9_543),
    ]
    assert round(domains["music"]["positive_share"], 4) == 0.7457
    assert round(domains["book"]["positive_share"], 4) == 0.7206


@pytest.mark.parametrize("form", ["tsv", "csv.gz", "jsonl", "parquet", "headerless", "latin"])
def test_every_format_gives_the_same_rows(form: str, make, write, tmp_path: Path) -> None:
    table = pd.DataFrame([line.split(",") for line in LOG], columns=HEADER.split(","))
    options: dict = {"files": str(tmp_path / f"log.{form}"), "features": FEATURES}
    if form == "tsv":
        table.to_csv(options["files"], sep="\t", index=False)
    elif form == "csv.gz":
        table.to_csv(options["files"], index=False)
    elif form == "jsonl":
        table["tags"] = table["tags"].str.split("|")
        table["age"] = table["age"].astype(int)
        table.to_json(options["files"], orient="records", lines=True)
    elif form == "parquet":
        table["tags"] = table["tags"].str.split("|")
        table.astype({"age": float, "label": int}).to_parquet(options["files"])
    elif form == "headerless":
        options |= {"files": write("bare.csv", LOG), "header": HEADER.split(",")}
    else:
        Path(options["files"]).write_bytes("\r\n".join([HEADER, *LOG, "x,J\xfcrg,i1,1,0,7,a", ""]).encode("latin-1"))
        options["encoding"] = "latin-1"
        store = make("tabular", options)
        assert "Jürg" in pd.read_parquet(store.path / "users.parquet")["raw"].tolist()
        return
    store = make("tabular", options)
    plain = make("tabular", {"files": write("plain.csv", [HEADER, *LOG]), "features": FEATURES}, out="plain")
    for name in ("users.parquet", "items.parquet", "train/part-00000.parquet", "vocabulary/tags.parquet"):
        assert (store.path / name).read_bytes() == (plain.path / name).read_bytes(), name


def test_own_split_is_kept(make, write) -> None:
    files = {s: write(f"{s}.csv", ["domain,user,item,label", *rows]) for s, rows in
             {"train": ["x,a,1,1", "x,b,2,0"], "valid": ["x,a,2,0"], "test": ["x,c,1,1", "y,a,1,1"]}.items()}  # fmt: skip
    store = make("tabular", files, split={"kind": "given"})
    assert store.schema.rows == {("x", "train"): 2, ("x", "valid"): 1, ("x", "test"): 1,
                                 ("y", "train"): 0, ("y", "valid"): 0, ("y", "test"): 1}  # fmt: skip
    with pytest.raises(DataError, match="brings its own split; set"):
        make("tabular", files, out="hash")
    with pytest.raises(JobError, match="give either files, or all of train, valid and test"):
        make("tabular", {"train": files["train"]}, out="part")


def test_missing_column_and_file_are_named_at_once(make, write) -> None:
    log = write("log.csv", ["who,item,label", "a,1,1"])
    with pytest.raises(DataError, match=r"log.csv: there is no column 'user' \(wanted as user\); the file has who, item, label"):
        make("tabular", {"files": log, "domain": "x", "columns": {"user": "user", "item": "item", "label": "label"}})
    wide = write("wide.csv", [",".join(f"c{k}" for k in range(9999)), ",".join("1" * 9999)])
    with pytest.raises(DataError, match=r"the file has c0, c1, .*, c49 and 9,949 more\. Map"):
        make("tabular", {"files": wide})
    with pytest.raises(JobError, match=r"columns\.user and columns\.item are both 'who'; map each to a column of its own"):
        make("tabular", {"files": log, "domain": "x", "columns": {"user": "who", "item": "who", "label": "label"}})
    with pytest.raises(DataError, match=r"none\.csv: no such file"):
        make("tabular", {"files": log.replace("log", "none")})


def test_side_file_and_constant_domain(make, write) -> None:
    log = write("log.csv", ["user,item,rating", *(f"u{u},i{i},{(u + i) % 5 + 1}" for u in range(9) for i in range(9))])
    users = write("users.csv", ["id,job", *(f"u{u},{'cook' if u % 2 else 'pilot'}" for u in range(12))])
    options = {
        "files": log,
        "domain": "shop",
        "columns": {"rating": "rating"},
        "users": {"files": users, "columns": {"user": "id"}},
        "features": {"job": {"role": "user"}},
    }
    store = make("tabular", options, positive_above=3)
    table = store.load("shop", "train")
    raws = np.array(["", *store.vocabulary("user")["raw"].to_pylist()])[table.columns["user"]]
    jobs = np.array(["", *store.vocabulary("job")["raw"].to_pylist()])[table.columns["job"]]
    assert all(job == ("cook" if int(raw[1:]) % 2 else "pilot") for raw, job in zip(raws, jobs, strict=True))
    with pytest.raises(DataError, match="no label; map a label, or a rating and set data"):
        make("tabular", options, out="nolabel")
