"""A slice of `python -m benchmarks.fuzz`: damaged folders are read or refused by an error of ours, and nothing is executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz.__main__ import Cases


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_folder_is_refused_in_words(tmp_path: Path) -> None:
    cases = Cases(tmp_path)
    found = {number: cases.run(number) for number in range(250)}
    assert {number: how for number, how in found.items() if how[1]} == {}
    ended = {how for how, _ in found.values()}
    assert {f"{part}: {how}" for part in ("prompt", "backbone", "stage", "journal") for how in ("read", "ArtifactError")} <= ended
