"""Requests and their answers, without Ray: those of `Prompts`, whoever asks beside; what is wrong is said with its remedy."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import large_table
from benchmarks import serving as load
from raytune_rec.data.stored.store import Store
from raytune_rec.errors import DataError
from raytune_rec.scoring import load_prompt
from raytune_rec.scoring.prompts import Prompts
from raytune_rec.serving.bodies import MOST_BYTES, MOST_ROWS, Question, RecommendAsked, Recommended, ScoreAsked, Scored
from raytune_rec.serving.guard import Guard
from raytune_rec.serving.service import Service
from tests.scoring.conftest import export, log
from tests.serving.conftest import ROWS, App, app_of, call, served

RECORDS = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
ONE = {"rows": [{"user": "u1", "item": "i1", "domain": "shop"}]}


@pytest.fixture
def service(run: Path) -> Service:
    return Service(*served(run), [run])


@pytest.fixture
def app(service: Service) -> App:
    return app_of(service)


@pytest.mark.parametrize("rows", [RECORDS, ROWS], ids=["records", "columns"])
def test_rows_are_scored_as_by_the_prompts(run: Path, app: App, rows: Any) -> None:
    expected = served(run)[0].score(ROWS)
    status, answer = call(app, "POST", "/score", {"rows": rows})
    assert status == 200
    np.testing.assert_allclose(answer["scores"], expected, rtol=1e-6)
    assert answer["unknown"] == [[], [], [], ["item"], ["user"], ["domain", "item"]]


def test_a_request_is_answered_as_if_it_were_alone(service: Service) -> None:
    """Of many together some are wrong, and others hold what would be read otherwise beside their neighbours' values."""
    rows: list[Any] = [
        *[[row] for row in RECORDS],
        [{**RECORDS[0], "age": "old"}, {**RECORDS[1], "age": 3}],
        *[[{**RECORDS[0], "age": age}] for age in (31, 31.5, "31", None, "young", True)],
        *[[{"user": user, "item": "i1", "domain": "shop"}] for user in (1, 1.0, "u3", 2**70, [1], {"a": 1})],
        [{"user": "u1", "item": "i1"}],
        RECORDS,
    ]
    asked = [ScoreAsked(rows=each, unknown=how) for each in rows for how in ("backbone", "raise")]  # type: ignore[arg-type]
    for question, together in zip(asked, service.answers(asked), strict=True):
        (alone,) = service.answers([question])
        if isinstance(alone, Scored):
            assert isinstance(together, Scored) and together.unknown == alone.unknown
            np.testing.assert_allclose(together.scores, alone.scores, rtol=1e-6)
        else:
            assert isinstance(alone, DataError) and isinstance(together, DataError) and together.problems == alone.problems
    (wrong,) = service.answers([ScoreAsked(rows=rows[6])])
    assert "column age: each row must be a finite number, or None (row 0 is 'old'" in str(wrong)


def test_an_error_of_ours_is_one_requests_own(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    score = service.prompts.score

    def fails(rows: Any, unknown: Any) -> Any:
        if "u3" in rows["user"]:
            raise KeyError("a defect")
        return score(rows, unknown)

    monkeypatch.setattr(service.prompts, "score", fails)
    found = service.answers([ScoreAsked(rows=[row]) for row in RECORDS])
    assert [type(each) for each in found] == [Scored, Scored, KeyError, Scored, Scored, Scored]


def test_recommendations_are_those_of_the_prompt(make: Callable[..., Store], tmp_path: Path) -> None:
    prompt, backbone = export(make(log()), "joint.1", tmp_path / "run")
    rows = {"history": [["i1", "i2"], [], ["i3", "new"]], "colour": ["c1", "c2", "none such"]}
    own = load_prompt(prompt, backbone)
    assert own.base is not None
    folder = tmp_path / "run" / "backbones" / own.base.facts.fingerprint
    shutil.copytree(backbone, folder)
    service = Service(*served(prompt), [tmp_path / "run"])
    status, answer = call(app_of(service), "POST", "/recommend", {"rows": {**rows, "unit": ["joint.1"] * 3}, "k": 3})
    assert status == 200 and answer["unknown"] == [[], [], ["colour", "history"]]
    expected = own.recommend(rows, k=3)
    assert answer["items"] == [[item for item, _ in row] for row in expected]
    np.testing.assert_allclose(answer["scores"], [[score for _, score in row] for row in expected], rtol=1e-6)
    asked: list[Question] = [RecommendAsked(rows=[{"history": ["i1", "i2"], "unit": "joint.1"}], k=k) for k in (2, 3, 2)]
    found = service.answers(asked)
    assert [len(each.items[0]) for each in found if isinstance(each, Recommended)] == [2, 3, 2]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "told", "remedy"),
    [
        ("POST", "/score", b"{rows", 400, "body: it must be JSON, and is not; send an object", ONE),
        ("POST", "/score", b'{"rows": "\xff"}', 400, "in UTF-8", ONE),
        ("POST", "/score", b"[" * 100_000, 400, "not nested so deeply", ONE),
        ("POST", "/score", [ONE], 422, "body: it must be a JSON object (given: [{'rows'", ONE),
        ("POST", "/score", {}, 422, "rows: this option is required", ONE),
        ("POST", "/score", {"rows": []}, 422, "1 to 10,000 rows (given: 0)", ONE),
        ("POST", "/score", {"rows": {"user": ["u1"], "item": []}}, 422, "give one value for each row", ONE),
        ("POST", "/score", {"rows": [{"user": "u"}] * 10_001}, 422, "(given: 10,001); send them in several requests", ONE),
        ("POST", "/score", {**ONE, "unknwon": 1}, 422, "unknwon: no such option", {**ONE, "unknown": "raise"}),
        ("POST", "/score", {**ONE, "unknown": "drop"}, 422, "'backbone' or 'raise' (given: 'drop')", {**ONE, "unknown": "raise"}),
        ("POST", "/score", {"rows": [{"usr": "u1", "item": "i1", "domain": "shop"}]}, 422, "Rename it, or leave it out", ONE),
        ("POST", "/score", {"rows": [{"user": "u1", "item": "i1"}]}, 422, "name the unit of each row, one of club, shop", ONE),
        ("POST", "/score", {"rows": [{"user": "\ud800", "item": "i1", "domain": "shop"}]}, 422, "no Unicode", ONE),
        ("POST", "/score", {"rows": [{"\ud800": "u1", "item": "i1", "domain": "shop"}]}, 422, "Rename it, or leave it out", ONE),
        ("GET", "/score", None, 405, "this route has no such method; /docs lists", None),
        ("GET", "/scores", None, 404, "there is no such route; /docs lists", None),
    ],
)  # fmt: skip
def test_a_bad_request_is_told_the_rule_the_value_and_the_remedy(
    app: App, method: str, path: str, body: Any, status: int, told: str, remedy: Any
) -> None:
    found, answer = call(app, method, path, body)
    assert found == status and told in answer["problems"][0]
    assert remedy is None or call(app, "POST", "/score", remedy)[0] == 200


def test_what_a_backbone_does_not_do_is_refused(app: App) -> None:
    for path in ("/recommend", "/predict"):
        status, answer = call(app, "POST", path, ONE)
        assert status == 422 and len(answer["problems"]) == 1


_CELL = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3), lambda inner: st.lists(
    inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2), max_leaves=3)  # fmt: skip
_NAMES = st.sampled_from(["user", "item", "domain", "unit", "age", "colour", "history", "taken", "label"]) | st.text(max_size=2)
_ROWS = st.lists(st.dictionaries(_NAMES, _CELL, max_size=4), max_size=3) | st.dictionaries(
    _NAMES, st.lists(_CELL, max_size=2), max_size=4
)


@settings(max_examples=40)
@given(st.sampled_from(["score", "recommend", "predict"]), _ROWS | _CELL)
def test_no_body_makes_an_error_of_ours(run: Path, what: str, rows: Any) -> None:
    app = _APPS.setdefault(run, app_of(Service(*served(run), [run])))
    status, answer = call(app, "POST", f"/{what}", {"rows": rows})
    assert (status == 200) or (status in (400, 422) and answer["problems"]), answer


_APPS: dict[Path, App] = {}


def test_prompts_are_added_replaced_and_removed_by_name(run: Path, tmp_path: Path, app: App, service: Service) -> None:
    both = {"rows": {"user": ["u1"] * 2, "item": ["i1"] * 2, "domain": ["shop", "club"]}}
    before = call(app, "POST", "/score", both)[1]["scores"]
    status, answer = call(app, "PUT", "/prompts/a/b", {"path": "artifacts/club"})  # a name is no path
    assert (status, answer) == (201, {"name": "a/b", "path": str((run / "artifacts" / "club").resolve())})
    assert call(app, "GET", "/prompts/a/b") == (200, answer)
    assert call(app, "PUT", "/prompts/shop", {"path": str(run / "artifacts" / "club")})[0] == 200
    served_now = call(app, "GET", "/prompts")[1]
    assert [prompt["name"] for prompt in served_now["prompts"]] == ["club", "shop", "a/b"]
    rows = {"user": ["u1"] * 3, "item": ["i1"] * 3, "domain": ["club", "shop", "a/b"]}
    after = call(app, "POST", "/score", {"rows": rows})[1]
    np.testing.assert_allclose(after["scores"], [before[1]] * 3, rtol=1e-6)
    assert call(app, "DELETE", "/prompts/shop") == (204, None)
    assert call(app, "POST", "/score", {"rows": rows})[1]["unknown"] == [[], ["domain"], []]
    assert call(app, "GET", "/health") == (200, {"status": "ok", "prompts": 2})
    status, answer = call(app, "DELETE", "/prompts/shop")
    assert status == 404 and "there is no prompt 'shop'; there are club, a/b. PUT one of this name" in answer["problems"][0]
    assert call(app, "PUT", "/prompts/shop", {"path": "artifacts/shop"})[0] == 201  # the remedy
    assert call(app, "DELETE", "/prompts/shop")[0] == 204


def test_paths_stay_in_the_folders_that_were_allowed(run: Path, tmp_path: Path, app: App) -> None:
    outside = shutil.copytree(run / "artifacts" / "shop", tmp_path / "elsewhere" / "shop")
    (run / "linked").symlink_to(outside)
    for path in (str(outside), f"../../{outside.name}", os.path.relpath(outside, run), "linked", "/etc", "~root"):
        status, answer = call(app, "PUT", "/prompts/mine", {"path": path})
        assert status == 422, path
        assert path == "~root" or "start `raytune-rec serve` with --allow FOLDER" in answer["problems"][0]
    for path, told in (
        ("a\0b", "is no path"),
        ("", "at least 1 character"),
        ("x" * 5_000, "at most 4096"),
        ("artifacts", "prompt"),
    ):
        status, answer = call(app, "PUT", "/prompts/mine", {"path": path})
        assert status == 422 and told in answer["problems"][0], answer
    allowed = app_of(Service(*served(run), [run, tmp_path / "elsewhere"]))  # the remedy
    assert call(allowed, "PUT", "/prompts/mine", {"path": str(outside)})[0] == 201
    assert call(allowed, "PUT", "/prompts/ mine", {"path": str(outside)})[0] == 422


def test_what_cannot_be_served_leaves_everything_as_it_was(run: Path, app: App) -> None:
    broken = shutil.copytree(run / "artifacts" / "shop", run / "broken")
    (broken / "prompt.safetensors").write_bytes(b"nothing")
    before = call(app, "GET", "/prompts"), call(app, "POST", "/score", ONE)
    assert call(app, "PUT", "/prompts/shop", {"path": "broken"})[0] == 422
    assert (call(app, "GET", "/prompts"), call(app, "POST", "/score", ONE)) == before


def test_requests_are_answered_while_a_change_is_made(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before it, and nobody waits for it."""
    before, meanwhile = service.answers([ScoreAsked(rows=RECORDS)]), list[Any]()
    make, pool = Prompts._made, ThreadPoolExecutor(1)

    def made(self: Prompts) -> Any:
        meanwhile.append(pool.submit(service.answers, [ScoreAsked(rows=RECORDS)]).result(timeout=20))
        return make(self)

    monkeypatch.setattr(Prompts, "_made", made)
    service.add("shop", "artifacts/club")
    service.remove("club")
    pool.shutdown()
    assert meanwhile[0] == before and meanwhile[1] not in (before, service.answers([ScoreAsked(rows=RECORDS)]))


def test_changes_come_one_after_the_other(run: Path, app: App, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is answered by what it did, whatever follows it before its answer is made."""
    club, made = str((run / "artifacts" / "club").resolve()), {"path": "artifacts/club"}
    add, remove = service.add, service.remove
    with monkeypatch.context() as patch:
        patch.setattr(service, "add", lambda name, path: (add(name, path), remove(name))[0])
        assert call(app, "PUT", "/prompts/new", made) == (201, {"name": "new", "path": club})
    assert call(app, "GET", "/prompts/new")[0] == 404
    with monkeypatch.context() as patch:
        patch.setattr(service, "remove", lambda name: (remove(name), remove(name))[1])
        assert call(app, "DELETE", "/prompts/shop")[0] == 404


def test_a_name_that_is_put_and_deleted_at_once_is_there_or_not(run: Path) -> None:
    """In whatever order: who put it where there was none less who deleted it is what is there, in answers and on disk."""
    kept: list[dict[str, str]] = []
    service = Service(*served(run), [run], keep=lambda placed: kept.append(dict(placed)))
    app, made = app_of(service), {"path": "artifacts/club"}
    with ThreadPoolExecutor(4) as pool:
        asked = [("PUT", made), ("DELETE", None)] * 20
        told = [status for status, _ in pool.map(lambda each: call(app, each[0], "/prompts/new", each[1]), asked)]
    assert set(told) <= {200, 201, 204, 404}
    there = "new" in service.placed
    assert told.count(201) - told.count(204) == there
    assert service.placed == kept[-1] and set(service.prompts.names) == set(service.placed)
    (answer,) = service.answers([ScoreAsked(rows=[{**RECORDS[0], "domain": "new"}])])
    assert isinstance(answer, Scored) and ("domain" in answer.unknown[0]) != there


@pytest.mark.parametrize("step", ["making", "keeping"])
def test_a_change_that_breaks_off_leaves_everything_as_it_was(run: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """What answers cannot be made, as where there is no memory, or cannot be written down."""

    def fails(*given: Any) -> Any:
        raise OSError("no room")

    service = Service(*served(run), [run], keep=fails if step == "keeping" else lambda placed: None)
    before = service.placed, service.answers([ScoreAsked(rows=RECORDS)])
    with monkeypatch.context() as patch:
        if step == "making":
            patch.setattr(Prompts, "_made", fails)
        for change in (lambda: service.add("shop", "artifacts/club"), lambda: service.remove("shop")):
            with pytest.raises(OSError, match="no room"):
                change()
    assert (service.placed, service.answers([ScoreAsked(rows=RECORDS)])) == before


def test_who_may_ask_and_how_much(app: App) -> None:
    guarded = Guard(app, token="secret", hosts=("127.0.0.1", "localhost", "::1"))
    assert call(guarded, "GET", "/health")[0] == 200
    for brought in ({}, {"authorization": "Bearer other"}, {"authorization": "secret"}, {"authorization": "Bearer sécret"}):
        status, answer = call(guarded, "POST", "/score", ONE, brought)
        assert status == 401 and "send `Authorization: Bearer TOKEN`" in answer["problems"][0] and "secret" not in str(answer)
    own = {"authorization": "Bearer secret"}
    assert call(guarded, "POST", "/score", ONE, own)[0] == 200
    for host in ("evil.example", "", "127.0.0.1.evil.example:80", "[", "ü"):
        status, answer = call(guarded, "POST", "/score", ONE, {**own, "host": host})
        assert status == 400 and "is asked as 127.0.0.1 or" in answer["problems"][0]
    assert call(guarded, "POST", "/score", ONE, {**own, "host": "[::1]:8000"})[0] == 200
    large = b" " * (MOST_BYTES + 1)
    for answer in (
        call(guarded, "POST", "/score", large, own),
        call(guarded, "POST", "/score", None, own, [large[:10], large[10:]]),
    ):
        assert answer[0] == 413 and "send its rows in several requests" in answer[1]["problems"][0]


def test_rows_that_load_is_made_of_are_known_to_training(run: Path, tmp_path: Path) -> None:
    """Also where domains have items of their own: unknown rows would be another load."""
    prompts, artifacts = served(run)
    backbone = prompts.base.folder
    requests = load.drawn_rows(backbone, list(artifacts), 20, 3)
    large_table.write(tmp_path / "rows.parquet", backbone, list(artifacts), 50)
    table = pq.read_table(tmp_path / "rows.parquet")
    for rows in (*requests, table.drop_columns(["number"])):
        assert not prompts.score(rows).unknown
    assert set(table["domain"].to_pylist()) == set(artifacts) and table["number"].to_pylist() == list(range(50))


def test_an_answer_that_lacks_rows_or_has_others_is_told(tmp_path: Path) -> None:
    given, answered = tmp_path / "rows.parquet", tmp_path / "scores.parquet"
    rows = pa.table({"number": range(9)})
    pq.write_table(rows, given)
    whole = rows.append_column("score", pa.array([0.5] * 9))
    for answer, told in (
        (whole, ""),
        (whole.slice(1), "8 rows are answered, of 9"),
        (whole.take([1, 0, *range(2, 9)]), "others"),
    ):
        pq.write_table(answer, answered)
        found = large_table.problems(given, answered)
        assert (told in found[0]) if told else found == []


def test_a_body_that_is_not_called_json_is_told_of_the_header(app: App) -> None:
    """As curl sends it, unless it is told otherwise."""
    status, answer = call(app, "POST", "/score", ONE, {"content-type": "application/x-www-form-urlencoded"})
    assert status == 422 and "(given: b'{" in answer["problems"][0]
    assert "with the header Content-Type: application/json" in answer["problems"][0]


def test_prompts_of_any_name_are_listed(run: Path) -> None:
    prompts, artifacts = served(run)
    name = "x" * 250
    prompts.add(name, artifacts["shop"])
    app = app_of(Service(prompts, {**artifacts, name: artifacts["shop"]}, [run]))
    assert [prompt["name"] for prompt in call(app, "GET", "/prompts")[1]["prompts"]] == ["club", "shop", name]


def test_the_page_for_people_needs_no_network(app: App) -> None:
    status, page = call(app, "GET", "/docs")
    assert status == 200 and not re.search(r"https?:|src=|<script|<link", page)
    for said in ("POST /score", "PUT /prompts/{name}", "ScoreAsked", "Leave rows of a name to the backbone"):
        assert said in page


def test_the_openapi_page_shows_routes_bodies_and_errors(app: App) -> None:
    page = call(app, "GET", "/openapi.json")[1]
    assert set(page["paths"]) == {"/score", "/recommend", "/predict", "/prompts", "/prompts/{name}", "/health"}
    assert set(page["paths"]["/prompts/{name}"]) == {"get", "put", "delete"}
    assert page["paths"]["/score"]["post"]["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith(
        "/Problems"
    )
    assert set(page["components"]["schemas"]["RecommendAsked"]["properties"]) == {"rows", "unknown", "k", "seen"}
    assert MOST_ROWS["score"] == 10_000
