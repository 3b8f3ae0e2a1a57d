"""The benchmark of core time by the number of domains: each way is trained and timed, and what is measured stays."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import domains
from benchmarks.mistakes import told
from raytune_rec.pretraining import train
from raytune_rec.storage.files import read_json
from raytune_rec.training import build

SMALL = "--rows 200 --users 30 --items 20 --repeats 1 --epochs 2"


def _run(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    monkeypatch.setattr("sys.argv", ["domains", *words.split()])
    with told():
        domains.main()


def test_parts_are_measured_once_and_every_way_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = f"--out {tmp_path}"
    _run(monkeypatch, f"{out} {SMALL} --domains 2")
    first = (tmp_path / "2.json").read_bytes()
    _run(monkeypatch, f"{out} {SMALL} --domains 2 3")
    assert (tmp_path / "2.json").read_bytes() == first, "a part that is there is not measured again"
    found = read_json(tmp_path / "3.json")
    assert set(found["ways"]) == set(domains.WAYS) and found["domains"] == 3
    for way, (pretraining, method) in domains.WAYS.items():
        of = found["ways"][way]
        assert bool(of["pretraining"]) is bool(pretraining) and bool(of["domains"]) is bool(method) and 0 <= of["auc"] <= 1
        assert of["least"] == of["seconds"] == of["most"] == pytest.approx(of["pretraining"] + of["domains"])
    shown = capsys.readouterr().out
    assert "1.00 x" in shown and "3 domains" in shown and not list(tmp_path.glob("*-domains")), "no data are left behind"
    with pytest.raises(SystemExit):
        _run(monkeypatch, f"{out} {SMALL} --domains 2 --pack 2")
    assert "use another --out." in capsys.readouterr().err
    _run(monkeypatch, f"--out {tmp_path / 'other'} {SMALL} --domains 2 --pack 2")
    alone, packed = (read_json(path)["ways"]["single"]["auc"] for path in (tmp_path / "2.json", tmp_path / "other" / "2.json"))
    assert alone == pytest.approx(packed, abs=1e-3), "domains that share a pack reach the same"


def test_rows_are_read_before_the_clock_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more units than a process keeps, too."""
    kept, inside = lru_cache(maxsize=2)(build.rows_of.__wrapped__), list[int]()
    for module in (build, domains, train):
        monkeypatch.setattr(module, "rows_of", kept)
    clock = domains._timed

    def timed(work: Callable[[], Any]) -> tuple[float, Any]:
        before = kept.cache_info().misses
        made = clock(work)
        inside.append(kept.cache_info().misses - before)
        return made

    monkeypatch.setattr(domains, "_timed", timed)
    _run(monkeypatch, f"--out {tmp_path} {SMALL} --domains 4")
    assert kept.cache_info().misses > 4 and not any(inside)
