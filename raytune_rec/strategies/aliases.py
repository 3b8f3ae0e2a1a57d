"""The usual strategies by name (the survey's tree of training strategies; PLATE's Eq. 7 and 8 and Figure 4)."""

from __future__ import annotations

from dataclasses import replace

from raytune_rec.errors import JobError
from raytune_rec.schema.work import Strategy

ALIASES: dict[str, Strategy] = {
    s.name: s
    for s in (
        Strategy("single", "scratch", ("all",)),
        Strategy("pretrained", "backbone", ()),
        Strategy("finetune_all", "backbone", ("all",)),
        Strategy("finetune_partial", "backbone", ("linear", "output")),
        Strategy("prompt", "backbone", ("prompt",), "on"),
        Strategy("prompt_output", "backbone", ("prompt", "output"), "on"),
        Strategy("prompt_linear", "backbone", ("prompt", "linear"), "on"),
        Strategy("prompt_linear_output", "backbone", ("prompt", "linear", "output"), "on"),
        Strategy("prompt_untuned", "backbone", (), "on"),
        Strategy("prompt_backbone", "backbone", ("prompt", "all"), "on"),
        Strategy("fixed_prompt_finetune", "backbone", ("all",), "on"),
        Strategy("tuning_free", "backbone", (), "on"),
        Strategy("pretrain", "scratch", ("all",)),
        Strategy("pretrain_prompt", "scratch", ("all", "prompt"), "on"),
        Strategy("pretrain_neutral", "scratch", ("all",), "neutral"),
    )
}


_BY_GROUPS = ("finetune_partial", "fixed_prompt_finetune")


def strategy(name: str) -> Strategy:
    """The strategy called `name`. `finetune_partial:GROUP+GROUP` and `fixed_prompt_finetune:GROUP+GROUP` train the listed groups
    of the backbone.

    Raises:
        JobError: there is none; the message lists what exists.
    """
    base, _, groups = name.partition(":")
    if base not in ALIASES or (groups and base not in _BY_GROUPS):
        listed = " and ".join(f"{usual}:GROUP+GROUP" for usual in _BY_GROUPS)
        raise JobError(f"strategy: there is no {name!r}; there are {', '.join(ALIASES)} ({listed} list groups).")
    return replace(ALIASES[base], name=name, train=tuple(groups.split("+"))) if groups else ALIASES[base]
