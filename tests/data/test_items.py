"""Items by id beside rows and histories: features, tokens of text, how often each was taken, and by whom."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers

from raytune_rec.artifacts.backbone import _copy_data
from raytune_rec.data import tokens
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError, JobError
from raytune_rec.schema.prepared import SPLITS
from tests.data.conftest import Make

_TITLES = {f"i{i}": f"The {'Red' if i % 2 else 'Blue'} Film {i}" for i in range(8)}


@pytest.fixture
def films(make: Make, write: Callable[..., str]) -> Callable[..., Store]:
    rows = [f"u{u},i{(u * 3 + k) % 8},1,{1000 * u + k}" for u in range(30) for k in range(5)]
    log = write("log.csv", ["user,item,label,ts", *rows])
    features = write("items.csv", ["item,genre,title", *(f"{i},g{int(i[1]) % 3},{t}" for i, t in _TITLES.items())])
    options: dict[str, Any] = {
        "files": [log], "domain": "films", "shared_items": True, "items": {"files": [features]},
        "columns": {"user": "user", "item": "item", "label": "label", "timestamp": "ts"},
        "features": {"genre": {"role": "item"}, "title": {"role": "item", "kind": "text"}},
    }  # fmt: skip
    return lambda out="store", **data: make("tabular", options, out, **data)


@pytest.mark.parametrize("histories", [False, True])
def test_items_are_a_table_by_id(films: Callable[..., Store], histories: bool) -> None:
    leave = {"split": {"kind": "leave_one_out"}, "sequences": {"length": 4, "negatives": 2}}
    store = films(**(leave if histories else {}), text={"length": 3})
    items = store.items(["genre", "title"], feedback=True)
    names = ["", *store.vocabulary("item")["raw"].to_pylist()]
    assert len(items) == len(names) == store.schema.field("item").size and items.feedback is not None
    assert store.items().columns == {} and store.items().feedback is None, "only what is asked for"
    genres = ["", *store.vocabulary("genre")["raw"].to_pylist()]
    assert [genres[g] for g in items.columns["genre"][1:]] == [f"g{int(n[1]) % 3}" for n in names[1:]]
    title = store.schema.field("title")
    assert (title.kind, title.length) == ("text", 3) and title not in store.schema.fields, "no field of a row"
    assert np.array_equal(items.columns["title"][1:], store.tokenizer.encode([_TITLES[n] for n in names[1:]], 3))
    assert items.columns["title"].max() < title.size and not items.columns["title"][0].any()
    assert all("title" not in store.load("films", split).columns for split in SPLITS)
    start, feedback = items.feedback.start, items.feedback
    assert np.array_equal(np.diff(start), items.count) and start[-1] == len(feedback.user) and (feedback.value == 1).all()
    for i in range(1, len(items)):
        assert (np.diff(feedback.time[start[i] : start[i + 1]]) >= 0).all() and feedback.user[start[i] : start[i + 1]].all()
    with pytest.raises(DataError, match=r"items: there is no column age; there are genre, title"):
        store.items(["age"])


def test_the_tokenizer_goes_with_the_backbone_and_decides_the_fingerprint(films: Callable[..., Store], tmp_path: Path) -> None:
    plain, told = films("plain"), films("told", text={"length": 5})
    assert plain.schema.fields == told.schema.fields and plain.schema.fingerprint != told.schema.fingerprint
    assert not plain.schema.texts and told.schema.tokenizer == told.tokenizer.fingerprint
    _copy_data(Path(told.path), tmp_path / "beside")
    beside = Store.open(tmp_path / "beside", complete=False)
    assert beside.schema == told.schema
    assert np.array_equal(beside.items(["title"]).columns["title"], told.items(["title"]).columns["title"])
    assert np.array_equal(beside.tokenizer.encode(["the red dog"], 4), told.tokenizer.encode(["The RED, dog!"], 4))
    with pytest.raises(DataError, match=r"has no interactions, and so nobody who took an item"):
        beside.items(feedback=True)
    with pytest.raises(DataError, match=r"the data have no text with tokens \(data\.text\)"):
        plain.tokenizer.encode(["a"], 1)


def test_words_are_lowercased_and_unknown_ones_are_1() -> None:
    made = tokens.Words.of(["b a", "B!"])
    assert made.size == 4 and made.encode(["B a c", "", "a b a b"], 3).tolist() == [[2, 3, 1], [0, 0, 0], [3, 2, 3]]
    assert tokens.tokenizer_of(made.content, "x").fingerprint == made.fingerprint != tokens.Words.of(["a"]).fingerprint


def test_a_tokenizer_of_hugging_face_is_named_by_its_file(
    films: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0, "The": 1, "Film": 2, "None": 3}, unk_token="?"))
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast.save(str(path := tmp_path / "tokenizer.json"))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(DataError, match=r"needs the package tokenizers.*pip install tokenizers.*tokenizer = 'words'"):
            films("without", text={"tokenizer": str(path), "length": 4})
    store = films("with", text={"tokenizer": str(path), "length": 4})
    assert store.schema.field("title").size == 6
    assert store.items(["title"]).columns["title"][1].tolist() == [3, 1, 4, 1], "their ids stand behind padding and unknown"


def test_a_tokenizer_without_an_unknown_token_has_none(tmp_path: Path) -> None:
    fast = tokenizers.Tokenizer(
        tokenizers.models.BPE({"N": 0, "o": 1, "No": 2, "None": 3, "n": 4, "e": 5, "ne": 6}, [("N", "o")])
    )
    assert tokens.tokenizer_of(fast.to_str().encode(), "x").encode(["No", "None"], 3).tolist() == [[4, 0, 0], [4, 6, 7]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"title,year", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 5000, "not JSON"),
        (b"[1]", "is no tokenizer .*name a tokenizer.json"),
        (b'{"a": 1}', "is no tokenizer .*name a tokenizer.json"),
        (b'{"raytune_rec.words": 3}', "list of words, each once; copy it anew"),
        (b'{"raytune_rec.words": ["a", 1]}', "list of words, each once"),
        (b'{"raytune_rec.words": ["a", "a"]}', "list of words, each once"),
        (None, "'no.json': cannot be read .* name a tokenizer.json, or 'words'"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_refused(
    films: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("no.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        films(tmp_path.name, text={"tokenizer": "no.json"})
    Path("no.json").unlink(missing_ok=True)
    os.mkfifo("no.json")
    with pytest.raises(DataError, match="cannot be read"):
        films(tmp_path.name + "-pipe", text={"tokenizer": "no.json"})


def test_what_a_taking_is_worth_comes_from_columns_of_the_log(make: Make, write: Callable[..., str]) -> None:
    """How long a user stayed, as a multiple of the mean, and a rating that is a sum of flags; an empty cell is nothing."""
    rows = [f"u{u},i{i},{60 * u if u % 3 else ''},{u % 2},{i % 2},{u},1" for u in range(12) for i in range(6)]
    log = write("log.csv", ["user,item,play,follow,share,ts,like", *rows])
    columns = {"user": "user", "item": "item", "label": "like", "timestamp": "ts", "stay": "play"}
    options = {"files": log, "domain": "clips", "columns": columns, "score": ["follow", "share"], "shared_items": True}
    own = make("tabular", options, split={"kind": "hash", "valid": 0.1, "test": 0.1})
    items = own.items(feedback=True)
    users, names = ([int(raw[1:]) for raw in own.vocabulary(name)["raw"].to_pylist()] for name in ("user", "item"))
    feedback = items.feedback
    assert feedback is not None
    who = np.array([users[u - 1] for u in feedback.user])
    what = np.repeat([0, *names], np.diff(feedback.start))
    seconds = np.where(who % 3, 60.0 * who, 0.0)
    np.testing.assert_allclose(feedback.stay, seconds / seconds.mean(), rtol=1e-6)
    assert np.array_equal(feedback.value, who % 2 + what % 2)
    with pytest.raises(DataError, match=r"stay is negative.*'-5'"):
        make("tabular", {**options, "files": write("bad.csv", ["user,item,play,follow,share,ts,like", "u,i,-5,0,1,1,1"])}, "bad")
    with pytest.raises(JobError, match=r"score and columns\.rating are two ratings; give one"):
        make("tabular", {**options, "columns": {**columns, "rating": "follow"}}, "two")


@pytest.mark.parametrize("clocks", [False, True])
def test_what_a_user_took_is_in_order_by_clock_or_by_position_alone(make: Make, write: Callable[..., str], clocks: bool) -> None:
    """Positions of one domain say nothing of another's; rows of one second, without a position, are level."""
    draw = np.random.default_rng(7)
    taken = {(u, d): draw.permutation(9)[:6] for u in range(20) for d in "ab"}
    when = [100 + k // 2 if clocks else k for k in range(6)]
    lines = [f"{d},u{u},{i},{t}" for (u, d), items in taken.items() for t, i in zip(when, items, strict=True)]
    log = write("log.csv", ["shop,user,item,when", *draw.permutation(lines)])
    columns = {"domain": "shop", "user": "user", "item": "item", ("timestamp" if clocks else "position"): "when"}
    split, sequences = {"kind": "leave_one_out"}, {"length": 5, "negatives": 1}
    own = make("tabular", {"files": log, "columns": columns}, split=split, sequences=sequences)
    assert own.by_id("a").items.feedback is None, "nobody asks for it"
    feedback = own.by_id("a", feedback=True).items.feedback
    assert feedback is not None
    users, names = (["", *own.vocabulary(name)["raw"].to_pylist()] for name in ("user", "item"))
    what, order = np.repeat(np.arange(len(names)), np.diff(feedback.start)), np.asarray(feedback.order)
    for user in range(1, len(users)):
        rows = np.flatnonzero(feedback.user == user)
        in_order = [names[what[r]] for r in rows[order[rows].argsort(kind="stable")]]
        for domain in "ab":
            found = [name for name in in_order if name.startswith(domain)]
            first = [f"{domain}/{i}" for i in taken[int(users[user][1:]), domain][:4]]  # the last two validate and test
            assert [{*found[:2]}, {*found[2:]}] == [{*first[:2]}, {*first[2:]}]
            assert clocks or (found == first and in_order == sorted(in_order, key=lambda name: name[0]))
    assert (len(np.unique(order)) == 2) == clocks
