"""What TensorBoard reads back from the event files."""

import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from raytune_rec.report import tensorboard


def _read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def _hparams(folder: Path, tag: str) -> HParamsPluginData:
    return HParamsPluginData.FromString(_read(folder).summary_metadata[tag].plugin_data.content)


def _best(trials: list[dict], unit: str) -> list[dict]:
    found = [t for t in trials if t["unit"] == unit and t["state"] == "complete" and t["value"] is not None]
    ordered = sorted(found, key=lambda t: -t["value"])
    shown = ordered[:20]
    for t in ordered[20:]:
        if t["method"] not in {each["method"] for each in shown}:
            shown.append(t)
    return shown


def test_the_best_trials_of_each_unit_are_runs_with_their_curves(folder: Path, content: dict) -> None:
    (folder / "results.json").unlink()  # trials.json alone is read
    tensorboard.write(folder)
    for unit in ("music", "book", "movie"):
        runs = sorted((folder / "tensorboard" / unit).iterdir())
        assert [r.name for r in runs] == [
            f"{i:02d}-{t['method']}-{t['number']}" for i, t in enumerate(_best(content["trials"], unit), 1)
        ]
    best = _best(content["trials"], "music")[0]
    events = _read(folder / "tensorboard" / "music" / f"01-{best['method']}-{best['number']}")
    assert [round(e.value, 5) for e in events.Scalars("validation")] == [round(v, 5) for v in best["curve"]]
    assert [e.step for e in events.Scalars("training/loss")] == list(range(1, best["epochs"] + 1))


def test_the_winner_of_each_method_is_a_run_and_a_line_of_hparams(folder: Path, content: dict) -> None:
    """However many trials of other methods are better; an exported prompt is found by its method and trial."""
    tensorboard.write(folder)
    for method, facts in content["results"]["methods"].items():
        for unit, measures in facts["units"].items():
            (run,) = (folder / "tensorboard" / unit).glob(f"*-{method}-{measures['trial']}")
            start = _hparams(run, "_hparams_/session_start_info").session_start_info
            assert start.hparams["method"].string_value == method and start.hparams["unit"].string_value == unit


def test_hparams_know_every_option_of_any_run_and_the_final_metric(folder: Path, content: dict) -> None:
    tensorboard.write(folder)
    experiment = _hparams(folder / "tensorboard", "_hparams_/experiment").experiment
    shown = [t for u in ("music", "book", "movie") for t in _best(content["trials"], u)]
    assert {h.name for h in experiment.hparam_infos} == {"method", "unit"} | {k for t in shown for k in t["options"]}
    assert [m.name.tag for m in experiment.metric_infos] == [tensorboard.FINAL]
    words = {h.name: {v.string_value for v in h.domain_discrete.values} for h in experiment.hparam_infos if h.type == 1}
    assert words["method"] == {t["method"] for t in shown} and words["unit"] == {t["unit"] for t in shown}  # to filter by
    best = shown[0]
    run = folder / "tensorboard" / "music" / f"01-{best['method']}-{best['number']}"
    start = _hparams(run, "_hparams_/session_start_info").session_start_info
    assert start.hparams["training.lr.linear"].number_value == best["options"]["training.lr.linear"]
    assert round(_read(run).Scalars(tensorboard.FINAL)[0].value, 5) == round(best["value"], 5)


def test_an_option_may_be_a_word_in_one_trial_and_a_number_in_another(folder: Path, content: dict) -> None:
    """As a choice of both, or an option of this name that two prompts have."""
    trials = [t for t in content["trials"] if t["state"] == "complete"]
    mixed = [t | {"options": t["options"] | {"prompt.width": ("auto", 8)[place % 2]}} for place, t in enumerate(trials)]
    for told in (mixed, mixed[::-1]):
        (folder / "trials.json").write_text(json.dumps(told))
        tensorboard.write(folder)
        experiment = _hparams(folder / "tensorboard", "_hparams_/experiment").experiment
        assert "prompt.width" in {h.name for h in experiment.hparam_infos}


def test_writing_again_replaces_what_was_there(folder: Path) -> None:
    tensorboard.write(folder)
    written = len(list((folder / "tensorboard").rglob("events.*")))
    assert written > 60
    tensorboard.write(folder)
    assert len(list((folder / "tensorboard").rglob("events.*"))) == written
    (folder / "trials.json").unlink()
    tensorboard.write(folder)
    assert not list((folder / "tensorboard").rglob("events.*"))


def test_lower_is_better_where_the_curves_say_so(folder: Path, content: dict) -> None:
    falling = [
        t | {"value": 1 - t["value"], "curve": [1 - v for v in t["curve"]]} for t in content["trials"] if t["state"] == "complete"
    ]
    (folder / "trials.json").write_text(json.dumps(falling))
    tensorboard.write(folder)
    best = min((t for t in falling if t["unit"] == "book"), key=lambda t: t["value"])
    assert (folder / "tensorboard" / "book" / f"01-{best['method']}-{best['number']}").is_dir()
