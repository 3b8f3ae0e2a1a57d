"""Between planner and cluster: hands out packs that need training, takes complete results, and remembers what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from raytune_rec import errors
from raytune_rec.errors import RunFailed, UserError
from raytune_rec.schema.work import Pack
from raytune_rec.storage.files import unwritable
from raytune_rec.tuning.packs.folder import PackFolder
from raytune_rec.tuning.packs.planner import DONE, Done, Planner


class Dispatcher:
    """One run's counter.

    Args:
        planner: says what is next.
        folder: of a pack.
        remove: deletes the folder of a pack that is needed no more, by name.
        losses: how often a pack may lose its process without a word and be handed out again.
        attempts: that Ray Tune makes of a pack whose training raises.
    """

    def __init__(
        self,
        planner: Planner,
        folder: Callable[[Pack], PackFolder],
        remove: Callable[[str], None],
        losses: int = 1,
        attempts: int = 1,
    ) -> None:
        self.planner, self.folder, self.remove, self.losses, self.attempts = planner, folder, remove, losses, attempts
        self.failure: BaseException | None = None
        self.packs_done = 0
        self._back: list[Pack] = []
        self._lost: Counter[str] = Counter()
        for name in planner.past():  # told, and then interrupted before the folder went
            remove(name)

    def next(self) -> Pack | Done | None:
        """The next pack that must be trained. After a failure nothing more is handed out."""
        if self.failure is not None:
            return DONE
        if self._back:
            return self._handed(self._back.pop())
        try:
            while isinstance(pack := self.planner.next(), Pack):
                if self.folder(pack).results() is None:
                    return self._handed(pack)
                self.ended(pack)  # trained before an interruption
        except Exception as error:  # Ray Tune would hide it; the runner raises it
            self.failure = error
            return DONE
        return pack

    def _handed(self, pack: Pack) -> Pack:
        with suppress(OSError):  # where nothing can be written, the pack will say so
            self.folder(pack).clear_error()
        return pack

    def put_back(self, pack: Pack) -> None:
        self._back.append(pack)

    def ended(self, pack: Pack) -> None:
        """Nobody works on a pack any more. If its results are there they are told, however it ended; otherwise it has failed.

        A pack without a word is handed out again: Ray Tune retries a step, but gives up on a process that dies between two packs,
        before it has begun with the second, and where machines come and go that may be the lot of one pack several times. So is
        one whose word is of an attempt that Ray Tune was to make again, when the machine of the next was lost too.
        """
        folder = self.folder(pack)
        results = folder.results()
        if results is None:
            error = folder.error()
            early = error is None or (error["times"] < self.attempts and not _of_the_user(error))
            closed = unwritable(folder.path.parent) if error is None else None  # a full disk keeps a pack from saying so
            if early and closed is None and self._lost[pack.name] < self.losses:
                self._lost[pack.name] += 1
                self._back.append(pack)
            else:
                self.failure = self.failure or closed or _failure(pack, error)
            return
        try:
            gone = self.planner.done(pack, results)
        except Exception as error:  # Ray Tune would hide it; the runner raises it
            self.failure = self.failure or error
            return
        self.packs_done += 1
        for name in gone:
            self.remove(name)


def _of_the_user(error: Mapping[str, Any]) -> bool:
    kind = getattr(errors, error["kind"], None)
    return isinstance(kind, type) and issubclass(kind, UserError)


def _failure(pack: Pack, error: dict[str, Any] | None) -> Exception:
    what = f"pack {pack.name} ({pack.method} on {_units(pack)}, {len(pack.lanes)} trials)"
    if error is None:
        remedy = "lower tune.concurrent and run the same command again (or lower tune.pack, in another --out folder)"
        return RunFailed(f"{what}: its process died without a word (out of memory?); {remedy}.")
    if _of_the_user(error):
        return getattr(errors, error["kind"])(error["problems"])
    report = f"the whole report is in logs/{pack.name}.txt"
    return RunFailed(f"{what}: {'; '.join(error['problems'])} ({report}). The same command goes on from here.")


def _units(pack: Pack) -> str:
    first, *others = pack.units
    return f"{first} and {len(others)} more" if others else first
