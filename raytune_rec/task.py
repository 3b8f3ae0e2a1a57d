"""What a row is and what is asked of it, and which rows get a search of their own: `Task` and `Unit`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

RowMetric = Literal["auc", "logloss"]
"""Validation metrics of rows with a label each."""
ListMetric = Literal["list_auc", "mrr", "hit@1", "hit@5", "hit@10", "hit@20", "hit@50", "ndcg@5", "ndcg@10", "ndcg@20", "ndcg@50"]
"""Of candidate lists with one positive each, and of classes, whose candidates are all classes."""
TaskName = Literal["rows", "lists", "classes"]
UnitKind = Literal["domain", "fold", "items", "all"]
GROUPS: Mapping[UnitKind, str] = {"fold": "cold users", "items": "cold items"}
"""Whose groups units are that are no domains, in words."""


@dataclass(frozen=True)
class Task:
    """What a row is and what is asked of it. A job's data section decides it (`DataOptions.task`), the store and every artifact
    keep it, and `tasks/` says how such rows are validated, tested and served; nobody else asks what kind of data there is.

    Args:
        name: `rows`: an interaction with a label; `lists`: a user with a history, and candidates of which one is right;
            `classes`: a user with a history, and an attribute to tell. The file of `tasks/`.
        length: L, the most items of a history; 0 where rows have none.
        attribute: the attribute of users that is told; empty where items are.
        repeats: whether what a user took before is ranked and recommended too.
    """

    name: TaskName = "rows"
    length: int = 0
    attribute: str = ""
    repeats: bool = False

    @property
    def histories(self) -> bool:
        """Whether a row is a user with a history."""
        return self.name != "rows"

    @property
    def chooses(self) -> bool:
        """Whether a row asks which of several is right, items or classes, instead of telling one item. A model of both kinds of
        rows asks this, and how it is fed.
        """
        return self.histories

    @property
    def metrics(self) -> tuple[str, ...]:
        """What validation can choose by."""
        return get_args(ListMetric if self.histories else RowMetric)

    @property
    def pretrained(self) -> Task:
        """The task of a pre-training on these data: items are to predict, whatever cold users do."""
        return self.telling("")

    def telling(self, attribute: str) -> Task:
        """The task on the same rows that tells this attribute of their users, or ranks items where it is empty."""
        return replace(self, name="classes" if attribute else "lists", attribute=attribute) if self.histories else self


@dataclass(frozen=True)
class Unit:
    """What gets its own search and artifact. `prepare` makes the units, the store reads their rows, the artifact keeps its own.

    Args:
        name: unique in the data. Start values are drawn from it and folders bear it.
        kind: `domain`: all rows of a domain; `fold`: cold users of a fold; `items`: rows of a group of cold items; `all`: every
            domain together.
        domain: whose rows and items they are; empty: of any domain.
        task: of a fold, what is asked of its users: few, zero, joint, k-shot, or the attribute that is told.
        number: of a fold, from 1.
        members: of a group of items, their ids, ascending.
    """

    name: str
    kind: UnitKind = "domain"
    domain: str = ""
    task: str = ""
    number: int = 0
    members: tuple[int, ...] = ()

    @classmethod
    def of_fold(cls, task: str, number: int) -> Unit:
        return cls(f"{task}.{number}", "fold", task=task, number=number)

    @property
    def ill_formed(self) -> str:
        """Why no preparation of ours made this unit, in words; empty where one may have."""
        if self.kind == "fold" and (self != Unit.of_fold(self.task, self.number) or not self.task or self.number < 1):
            return "and a fold of cold users is called by its task and its number, such as few.1"
        if self.kind == "items" and not (self.domain and self.members and list(self.members) == sorted(set(self.members))):
            return "and a group of cold items has a domain, and items, each once in the order of their ids"
        if self.kind == "domain" and self.name != self.domain:
            return f"and a unit that is a domain bears its name ({self.domain[:99]!r})"
        return ""

    @classmethod
    def of_first(cls, name: str) -> Unit:
        """A unit of cold users as 0.1 wrote it: by its name alone."""
        task, _, number = name.rpartition(".")
        return cls.of_fold(task, int(number))


COLD_TASKS = re.compile(r"few|zero|joint|[1-9]\d{0,4}-shot")
"""What may be asked of cold users, but for the attribute that is told."""
LABELLED = Task()
"""Interactions with a label each."""
