"""Answers of a batch of requests, and the prompts that give them. Plain Python: no Ray, no HTTP."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from raytune_rec.errors import ArtifactError, UserError
from raytune_rec.scoring.prompts import Prompts
from raytune_rec.serving.bodies import Answer, Predicted, Question, Recommended, Scored
from raytune_rec.storage.places import located

_TOGETHER = 16_384
"""Most rows of several requests that are answered in one go: a pass has no more."""
_LOG = logging.getLogger(__name__)


class Service:
    """Prompts on one backbone, for requests.

    Args:
        prompts: on the backbone. A change makes others, which take their place when they are ready to answer.
        placed: name of a prompt that is there -> its folder.
        folders: in which further prompts may lie; a relative path is read from the first.
        keep: is told all names and folders after every change.
    """

    def __init__(
        self,
        prompts: Prompts,
        placed: Mapping[str, Path],
        folders: Sequence[Path],
        keep: Callable[[Mapping[str, str]], object] = lambda placed: None,
    ) -> None:
        self._folders, self._keep = [folder.resolve() for folder in folders], keep
        self._now = prompts, {name: str(path) for name, path in placed.items()}
        self._lock = threading.Lock()
        _get_ready(prompts)

    @property
    def prompts(self) -> Prompts:
        """Those that answer."""
        return self._now[0]

    @property
    def placed(self) -> Mapping[str, str]:
        """Name of a prompt -> its folder."""
        return self._now[1]

    def answers(self, asked: Sequence[Question]) -> list[Answer | Exception]:
        """What each request gets: its answer, or why it has none. Nobody else's rows make a difference to it."""
        made: dict[int, Answer | Exception] = {}
        for places in _alike(asked):
            made |= zip(places, self._together([asked[i] for i in places]), strict=True)
        return [made[i] for i in range(len(asked))]

    def add(self, name: str, path: str) -> tuple[str, bool]:
        """Serve rows of a name by an exported prompt, in place of the one that did. Changes are made one after the other.

        Returns:
            The prompt's folder, and whether none did.

        Raises:
            ArtifactError: the folder may not be read or holds no prompt that can be served.
        """
        place = self._allowed(path)
        with self._lock:
            new, prompts = name not in self.placed, self.prompts.copy()
            prompts.add(name, place, replace=True)
            prompts.scorer  # noqa: B018  # is made here
            self._swap(prompts, {**self.placed, name: str(place)})
        return str(place), new

    def remove(self, name: str) -> bool:
        """Leave rows of a name to the backbone; whether there was such a prompt."""
        with self._lock:
            if name not in self.placed:
                return False
            prompts = self.prompts.copy()
            prompts.remove(name)
            _get_ready(prompts)
            self._swap(prompts, {other: path for other, path in self.placed.items() if other != name})
        return True

    def _swap(self, prompts: Prompts, placed: dict[str, str]) -> None:
        self._keep(placed)
        self._now = prompts, placed  # both at once

    def _allowed(self, path: str) -> Path:
        """The folder of a path, links followed; raises ArtifactError where it lies in none that may be read."""
        try:
            place = (self._folders[0] / located(path)).resolve()
        except (OSError, ValueError, RuntimeError) as error:  # a circle of links, a NUL
            raise ArtifactError(f"path {path[:200]!r}: is no path ({error}); name the folder of an artifact.") from None
        if not any(place.is_relative_to(folder) for folder in self._folders):
            known = " or ".join(map(str, self._folders))
            raise ArtifactError(
                f"path {path[:200]!r}: lies outside {known}; name an artifact inside, or start `raytune-rec serve` with "
                "--allow FOLDER."
            )
        return place

    def _together(self, asked: Sequence[Question]) -> list[Answer | Exception]:
        """Of requests that are alike. Where some cannot be answered, the halves are asked apart, until these stand alone."""
        try:
            columns = [question.columns for question in asked]
            rows = {name: list(chain.from_iterable(each[name] for each in columns)) for name in columns[0]}
            answers = getattr(self.prompts, asked[0].what)(rows, **asked[0].options)
        except Exception as error:  # whatever it is, it is no answer for the others
            if len(asked) == 1:
                if not isinstance(error, UserError):
                    _LOG.exception("a request failed")
                return [error]
            half = len(asked) // 2
            return [*self._together(asked[:half]), *self._together(asked[half:])]
        ends = np.cumsum([question.count for question in asked]).tolist()
        parts = [slice(end - question.count, end) for end, question in zip(ends, asked, strict=True)]
        return [_answer(asked[0].what, answers[part], answers.unknown, part) for part in parts]


def _get_ready(prompts: Prompts) -> None:
    """Make what answers. Where there is none (a backbone that does not answer by itself has lost its last prompt), requests are
    told so."""
    with suppress(UserError):
        prompts.scorer  # noqa: B018


def _answer(what: str, answers: Any, unknown: Mapping[str, np.ndarray], part: slice) -> Answer:
    """The part of an answer that is a request's."""
    marks: list[list[str]] = [[] for _ in answers]
    for name, mask in unknown.items():
        for row in np.flatnonzero(mask[part]).tolist():
            marks[row].append(name)
    if what == "score":
        return Scored.model_construct(scores=answers.tolist(), unknown=marks)
    if what == "recommend":
        items, scores = ([[pair[i] for pair in row] for row in answers] for i in (0, 1))
        return Recommended.model_construct(items=items, scores=scores, unknown=marks)
    values, chances = ([pair[i] for pair in answers] for i in (0, 1))
    return Predicted.model_construct(values=values, scores=chances, unknown=marks)


def _alike(asked: Sequence[Question]) -> Iterator[list[int]]:
    """Places of requests that may be answered together: of the same options, and of columns that hold values of the same kinds,
    since what a column holds decides how it is read."""
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for place, question in enumerate(asked):
        kinds = {name: frozenset(_kinds(values)) for name, values in question.columns.items()}
        groups[question.what, *question.options.items(), *sorted(kinds.items())].append(place)
    for places in groups.values():
        part, rows = list[int](), 0
        for place in places:
            if part and rows + asked[place].count > _TOGETHER:
                yield part
                part, rows = [], 0
            part.append(place)
            rows += asked[place].count
        yield part


def _kinds(values: Iterable[Any]) -> Iterator[type]:
    """Of values, and of those in lists."""
    for value in values:
        yield type(value)
        yield from map(type, value if isinstance(value, list) else ())
