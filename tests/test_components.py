"""A component is one file: found by its name, with no list to edit."""

from pathlib import Path

import pytest
import torch

from raytune_rec import components
from raytune_rec.components import Family, Options, numeric, padded, structural
from raytune_rec.errors import JobError
from raytune_rec.schema.contract import Batch, Site
from raytune_rec.schema.prepared import DataSchema, Field
from raytune_rec.tensors import Step

_NUDGE = '''
"""One learned vector that stands beside every row."""

from raytune_rec import components
from raytune_rec.components import numeric
from raytune_rec.schema.contract import Parameter, Site
from raytune_rec.tensors import zeros


class Nudge:
    """A vector for the domain."""

    class Options(components.Options):
        scale: float = numeric(1.0, "factor before the vector", gt=0)

    def __init__(self, options, schema, readings, widths):
        self.options = options
        self.width = widths[Site.FIELDS]

    @classmethod
    def reads(cls, options):
        return ()

    @classmethod
    def writes(cls, options):
        return {Site.FIELDS: 1}

    def parameters(self):
        return (Parameter("vector", (1, self.width), "prompt", zeros),)

    def write(self, params, readings, batch, options, step):
        value = params["vector"] * options["scale"].view(-1, 1, 1)
        return {Site.FIELDS: value.unsqueeze(1).expand(-1, batch.label.shape[1], -1, -1)}

    def losses(self, params, readings, batch, options, step, run):
        return {}
'''


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "nudge.py").write_text(_NUDGE)
    return tmp_path


def test_a_new_prompt_method_is_one_file(own: Path) -> None:
    assert "nudge" in components.names("prompts", [own])
    assert "nudge" not in components.names("prompts")
    found = components.component("prompts", "nudge", [own])
    assert found.__name__ == "Nudge"
    assert components.kinds(found.Options) == {"scale": "numeric"}
    assert components.options_of("prompts", "nudge", {"scale": 2}, [own]).scale == 2.0
    assert components.component("prompts", "nudge", [own]) is found  # loaded once


def test_it_writes_at_its_site_for_all_lanes(own: Path) -> None:
    found = components.component("prompts", "nudge", [own])
    schema = DataSchema((Field("user", "categorical", "user", 3),), ("music",), "0" * 16)
    nudge = found(found.Options(), schema, {}, {Site.FIELDS: 2})
    (parameter,) = nudge.parameters()
    lanes, rows = 3, 5
    batch = Batch({}, torch.zeros(1, rows), torch.ones(1, rows), torch.arange(rows).unsqueeze(0))
    value = torch.arange(2.0 * lanes).view(lanes, *parameter.shape)
    written = nudge.write({"vector": value}, {}, batch, {"scale": torch.tensor([1.0, 2.0, 3.0])}, Step(training=True))
    assert written[Site.FIELDS].shape == (lanes, rows, 1, 2)
    assert written[Site.FIELDS][2, 4, 0].tolist() == [12.0, 15.0]


def test_its_options_are_checked_like_any_other(own: Path) -> None:
    with pytest.raises(JobError) as error:
        components.options_of("prompts", "nudge", {"scale": 0, "tokens": 3}, [own])
    assert error.value.problems == (
        "prompts.nudge.scale: Input should be greater than 0 (given: 0).",
        "prompts.nudge.tokens: no such option; known here: scale.",
    )


def test_an_unknown_option_inside_a_section_lists_those_of_the_section() -> None:
    with pytest.raises(JobError) as error:
        components.options_of(
            "data.sources", "tabular", {"files": "x.csv", "features": {"age": {"kind": "multi", "seperator": "|"}}}
        )
    (problem,) = (p for p in error.value.problems if "no such option" in p)
    assert problem.startswith("data.sources.tabular.features.age.seperator: no such option; known here: ")
    assert "separator" in problem and "files" not in problem


def test_own_and_shipped_components_stand_in_one_list(own: Path) -> None:
    assert {"none", "plate", "nudge"} <= set(components.names("prompts", [own]))


def test_a_miss_lists_what_exists(own: Path) -> None:
    with pytest.raises(JobError, match=r"prompts: there is no 'plate2'; there are .*none.*nudge.*plate"):
        components.component("prompts", "plate2", [own])


def test_two_folders_of_one_name_do_not_mix(own: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = components.component("prompts", "nudge", [own])
    other = tmp_path_factory.mktemp("other")
    (other / "prompts").mkdir()
    (other / "prompts" / "nudge.py").write_text(_NUDGE.replace("class Nudge:", "class Shove:"))
    assert components.component("prompts", "nudge", [other]).__name__ == "Shove"
    assert components.component("prompts", "nudge", [own]).__name__ == first.__name__ == "Nudge"


@pytest.mark.parametrize("text", ["", "class One:\n    class Options: pass\nclass Two:\n    class Options: pass\n"])
def test_a_component_file_holds_one_public_class(tmp_path: Path, text: str) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "odd.py").write_text(text)
    with pytest.raises(JobError, match=r"exactly one public class with Options; found (0|2)"):
        components.component("prompts", "odd", [tmp_path])


@pytest.mark.parametrize("family", ["backbones", "prompts", "objectives", "data.sources"])
def test_every_shipped_component_tells_about_its_options(family: Family) -> None:
    for name in components.names(family):
        found = components.component(family, name)
        assert found.__doc__, f"{family}.{name}: what it computes is not written"
        silent = [option for option, info in found.Options.model_fields.items() if not info.description]
        assert not silent, f"{family}.{name}: options without a description: {silent}"
        assert found.Options.model_config["frozen"] and found.Options.model_config["extra"] == "forbid"


def test_kinds_are_declared_beside_the_option() -> None:
    class Own(Options):
        rate: float = numeric(0.1, "rate", ge=0)
        width: int = padded(4, "width")
        depth: int = structural(2, "depth")
        plain: int = 3

    assert components.kinds(Own) == {"rate": "numeric", "width": "padded", "depth": "structural", "plain": "structural"}


def test_a_component_that_cannot_be_loaded_is_named(own: Path) -> None:
    (own / "prompts" / "broken.py").write_text("import no_such_package\n")
    for _ in range(2):  # a half-loaded module is not found the second time either
        with pytest.raises(JobError, match=r"broken\.py: cannot be loaded \(ModuleNotFoundError.*; mend this component"):
            components.component("prompts", "broken", [own])
    (own / "prompts" / "broken.py").write_text(_NUDGE)
    assert components.component("prompts", "broken", [own]).__name__ == "Nudge"


def test_a_list_is_not_called_short_where_its_values_are_wrong() -> None:
    with pytest.raises(JobError) as wrong:
        components.options_of("backbones", "deepfm", {"hidden": [8, -1, 0]})
    assert [problem.split(":")[0].split(".", 2)[2] for problem in wrong.value.problems] == ["hidden.1", "hidden.2"]
    with pytest.raises(JobError, match=r"^backbones\.deepfm\.hidden: .* at least 1 item"):
        components.options_of("backbones", "deepfm", {"hidden": []})
