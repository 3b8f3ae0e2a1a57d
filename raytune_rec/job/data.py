"""A job's data: where the log comes from, how it is split, and what a row of it is."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from raytune_rec.job.sections import Section, Seed
from raytune_rec.task import COLD_TASKS, Task

WORDS, UNIGRAM = "words", "unigram"
"""The tokenizers that are made of the texts themselves."""


def _task(name: str) -> str:
    if not COLD_TASKS.fullmatch(name):
        raise ValueError("a task of cold users is few, zero, joint, or 1-shot, 2-shot and so on")
    return name


class SplitOptions(Section):
    kind: Literal["hash", "leave_one_out", "time", "given", "cold_users", "cold_items"] = Field(
        "hash",
        description="hash: by a hash of (seed, domain, user, item); time: quantiles of time; given: the source says; "
        "cold_users: some users are kept out as cold ones, the last row of each other user validates; cold_items: of some items "
        "all rows but the first few are held out, the last row of each user validates",
    )
    valid: float = Field(0.1, ge=0, lt=1, description="share of rows (hash, time)")
    test: float = Field(0.1, ge=0, lt=1, description="share of rows (hash, time)")
    cut: Literal["all", "each"] = Field(
        "all",
        description="all: every domain at the same times, so that none trains on what is later than the test rows of another; "
        "each: every domain at quantiles of its own times (time)",
    )
    cold: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="share of users (cold_users) or items (cold_items) that are made cold, by a hash",
    )
    cold_below: int = Field(
        0, ge=0, le=10**9, description="users with fewer rows than this are the cold ones instead; 0: by share"
    )
    cold_least: int = Field(60, ge=2, le=10**9, description="items with fewer rows than this are never made cold (cold_items)")
    cold_kept: int = Field(
        5, ge=0, le=10**6, description="first rows of a cold item, which train; 0: no pre-training knows it (cold_items)"
    )
    cold_from: int = Field(
        0,
        ge=0,
        le=10**6,
        description="rows of a cold item in front of those that validate: the first cold_kept train, the others stand "
        "nowhere, so that jobs of different cold_kept test the same rows; 0: as many as are kept (cold_items)",
    )
    cold_held: int = Field(
        20, ge=2, le=10**6,
        description="rows of a cold item after these: the earlier half validates, the later tests; later ones are left out",
    )  # fmt: skip
    cold_most: int = Field(
        0,
        ge=0,
        le=10**9,
        description="items with so many training rows at most are the cold ones instead, and the last row of each user tests, "
        "whatever its item (leave-one-out); 0: by share (cold_items)",
    )
    seed: Seed = Field(0, description="of the hashes that decide who is where")

    @model_validator(mode="after")
    def _something_is_left(self) -> SplitOptions:
        if self.kind in ("hash", "time") and self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} and test {self.test} leave nothing to train on; their sum must be below 1")
        shares = ("cold", "cold_least", "cold_kept", "cold_held", "cold_from")
        if self.cold_most and self.kind != "cold_items":
            raise ValueError(f"cold_most = {self.cold_most} is of cold items, and kind = {self.kind!r}; set it to 'cold_items'")
        if self.cold_most and (idle := [n for n in shares if getattr(self, n) != type(self).model_fields[n].default]):
            raise ValueError(
                f"cold_most = {self.cold_most} says which items are cold, and holds out users' last rows alone: "
                f"{', '.join(idle)} would have no effect; leave them out, or cold_most"
            )
        if self.kind == "cold_items" and 0 < self.cold_from < self.cold_kept:
            raise ValueError(
                f"cold_from = {self.cold_from} is smaller than cold_kept = {self.cold_kept}: rows that train do not validate; "
                f"set cold_from to {self.cold_kept} or more, or leave it out"
            )
        if self.kind == "cold_items" and not self.cold_most and self.cold_least < (needed := self.cold_first + 2):
            name = "cold_from" if self.cold_from else "cold_kept"
            raise ValueError(
                f"cold_least = {self.cold_least} is too small for {name} = {self.cold_first}: a cold item needs two rows more, "
                f"to validate and to test with; set cold_least to {needed} or more, or lower {name}"
            )
        return self

    @property
    def cold_first(self) -> int:
        """The rank, from 0, of the first row of a cold item that validates."""
        return self.cold_from or self.cold_kept


class SequenceOptions(Section):
    """Rows that are users with their histories, and lists of candidates to rank."""

    length: int = Field(50, ge=1, le=10_000, description="L, most items of a history")
    windows: Literal["last", "all"] = Field(
        "last", description="of a training history of more than L + 1 items: its end alone (SASRec), or all windows of it"
    )
    negatives: int = Field(
        99, ge=0, le=100_000, description="items drawn beside each positive, none of them the user's; 0: rank all items"
    )
    full: bool = Field(True, description="rank the test rows among all items too, those of the history left out")
    users: int = Field(
        0,
        ge=0,
        le=10**9,
        description="most users of a domain who validate and test, by a hash of (seed, user); what is held out of the others is "
        "used for nothing; 0: all (split leave_one_out)",
    )
    valid_users: int = Field(
        0, ge=0, le=10**9, description="most of these users of a domain who validate; 0: as many as test (split leave_one_out)"
    )
    ahead: int = Field(
        1,
        ge=1,
        le=100,
        description="last items of each user that test, each after all that he took before it and in a table of its own (next 1, "
        "next 2, ...), so that the model is the older, the later the item; the one before them validates (split leave_one_out)",
    )
    repeats: Literal["leave_out", "count"] = Field(
        "leave_out",
        description="a row whose item stands in its history already: leave_out: is not tested, as `recommend` names nothing that "
        "was taken; count: is, and what was taken is ranked and recommended too",
    )
    tasks: list[Annotated[str, AfterValidator(_task)]] = Field(
        [],
        description="of cold users: few (their later items), zero (their first one), joint (both with one model), k-shot (few, "
        "after at most k items); each task and fold is a unit",
    )
    predict: str = Field("", description="attribute of cold users that is predicted instead of their next item")
    events: int = Field(9, ge=1, le=10_000, description="first items of a cold user that are known")
    folds: int = Field(5, ge=2, le=1000, description="cold users are tested in so many parts, each by models tuned on the others")
    valid: float = Field(0.125, gt=0, lt=1, description="share of a fold's tuning users that choose the best epoch")
    item_groups: int = Field(1, ge=1, le=10_000, description="groups of a domain's cold items, each a unit (split cold_items)")
    grouped_by: Literal["hash", "arrival"] = Field(
        "hash", description="what puts cold items into groups: a hash of (seed, item), or the time of their first row"
    )
    warm: bool = Field(False, description="units train on the warm users' windows too, cut to as many items as they know")

    def events_of(self, task: str) -> int:
        """First items of a cold user that a task knows."""
        k_shot = task in self.tasks and task.endswith("-shot")
        return min(self.events, int(task.removesuffix("-shot")) + 1) if k_shot else self.events

    @property
    def cold(self) -> list[str]:
        """Tasks of cold users; an attribute that is predicted is one."""
        return [self.predict] if self.predict else self.tasks

    @property
    def cold_users(self) -> str:
        """Who they are, in words."""
        return f"cold users, at most their first {self.events} items, {self.folds} folds"

    @model_validator(mode="after")
    def _tasks_have_items(self) -> SequenceOptions:
        long = [task for task in self.tasks if task.endswith("-shot") and int(task.removesuffix("-shot")) >= self.events]
        if long:
            raise ValueError(f"tasks {', '.join(long)} need more than events = {self.events} items of a cold user; raise events")
        later = [task for task in self.tasks if task != "zero"]
        if later and self.events < 2:
            raise ValueError(
                f"tasks {', '.join(later)} predict what follows the first item of a cold user, and events = {self.events} stops "
                "there; set events to 2 or more"
            )
        if self.tasks and self.events - 1 > self.length:
            raise ValueError(
                f"length = {self.length} is too short for events = {self.events}: the history before the last of them is "
                f"never cut; set length to {self.events - 1} or more, or lower events"
            )
        if 0 < self.users < self.valid_users:
            raise ValueError(
                f"valid_users = {self.valid_users} is more than users = {self.users}, of whom they are; lower it, or leave it out"
            )
        if self.warm and not self.tasks:
            raise ValueError("warm = true is of units of cold users, and there are no tasks; name some, or leave it out")
        if self.predict and self.tasks:
            raise ValueError(f"predict = {self.predict!r} is a task of its own; leave out tasks {', '.join(self.tasks)}")
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks: each once (given: {', '.join(self.tasks)})")
        return self


class VectorOptions(Section):
    """A vector of each item, made of its text by an encoder that no training changes."""

    text: str = Field(description="which text of the items: one of data.text.items, or a text column", min_length=1)
    encoder: str = Field(
        WORDS,
        description="words: TF-IDF of the words, projected (SVD); else a folder as sentence-transformers saves it, or a model on "
        "the hub (both need the packages tokenizers and transformers); or RUN/data/texts/NAME.safetensors of a finished run, so "
        "that the vectors of two jobs mean the same",
        min_length=1,
    )
    width: int = Field(64, ge=1, le=4096, description="numbers of a vector: whitened, along the axes in which texts differ most")


class TextOptions(Section):
    """Text of users and items as tokens, for models that read words."""

    tokenizer: str = Field(
        WORDS,
        description="words: lowercased words, those of the training split have tokens of their own; unigram: pieces of words, "
        "learnt from the training split; else the path of a tokenizer.json of Hugging Face, or of a folder with one, or the name "
        "of a model on its hub (all but words need the extra text)",
    )
    vocabulary: int = Field(8000, ge=300, le=10**6, description="most tokens that are learnt (tokenizer unigram)")
    length: int = Field(64, ge=1, le=100_000, description="L, most tokens of a text that are kept (UPSR: 40 of an item)")
    items: dict[str, list[str]] = Field(
        {},
        description="name of a text -> the text columns of items that it is made of, in their order, all but title with their "
        "names (UPSR: category, title to pre-train; brand, price, description besides to tune); empty: each column alone",
    )

    vectors: dict[str, VectorOptions] = Field({}, description="name of a vector of items -> what it is made of")

    @model_validator(mode="after")
    def _each_attribute_once(self) -> TextOptions:
        for name, attributes in self.items.items():
            if not attributes or len(set(attributes)) < len(attributes):
                raise ValueError(f"items.{name}: text columns, each once (given: {', '.join(attributes) or 'none'})")
        return self


class DataOptions(Section):
    source: str = Field(description="component in data/sources")
    options: dict[str, Any] = Field({}, description="of the source: `show sources`")
    split: SplitOptions = SplitOptions()
    positive_above: float | None = Field(
        None, ge=-1e30, le=1e30, description="label = rating > this, where the source gives ratings and no label"
    )
    max_rejected: float = Field(0.01, ge=0, le=1, description="share of unusable rows past which preparation fails")
    buckets: int = Field(10, ge=2, le=10_000, description="quantile buckets of a numerical field, for discretisation")
    block_rows: int = Field(65536, ge=1024, le=2**24, description="rows of a block: read, shuffled and delivered together")
    sequences: SequenceOptions | None = Field(None, description="rows are users with histories instead of interactions")
    known: str = Field(
        "",
        description="the prepared data (RUN/data) of a finished run whose log has grown: ids stay as they are there, and items "
        "that have none yet are the cold ones (`tune --only-new`)",
    )
    text: TextOptions | None = Field(None, description="tokens of the text columns of users and items; absent: text has none")

    @property
    def task(self) -> Task:
        """What a row of these data is, and what is asked of it."""
        if self.sequences is None:
            return Task()
        items = Task("lists", self.sequences.length, repeats=self.sequences.repeats == "count")
        return items.telling(self.sequences.predict)

    @model_validator(mode="after")
    def _tasks_have_cold_users(self) -> DataOptions:
        cold, tasks = self.split.kind == "cold_users", bool(self.sequences and self.sequences.cold)
        if cold and not tasks:
            raise ValueError("split.kind = 'cold_users' needs sequences.tasks, and there are none; name few, zero or joint")
        if tasks and not cold:
            named = "sequences.predict is" if self.sequences and self.sequences.predict else "sequences.tasks are"
            raise ValueError(f"{named} of cold users, and split.kind = {self.split.kind!r}; set it to 'cold_users'")
        histories = ("leave_one_out", "cold_users", "cold_items")
        if self.sequences and self.split.kind not in histories:
            raise ValueError(f"sequences need split.kind = {' or '.join(map(repr, histories))} (given: {self.split.kind!r})")
        if self.split.kind == "cold_items" and self.sequences is None:
            raise ValueError("split.kind = 'cold_items' is of histories; set data.sequences, such as sequences = { length = 50 }")
        if self.known and (self.split.kind != "cold_items" or self.split.cold_most):
            raise ValueError(
                f"known = {self.known!r} makes what is new the cold items; set split.kind = 'cold_items' with cold_kept and "
                "cold_held, or leave it out"
            )
        for name in ("users", "valid_users", "ahead") if self.split.kind != "leave_one_out" and self.sequences else ():
            if (value := getattr(self.sequences, name)) != SequenceOptions.model_fields[name].default:
                raise ValueError(
                    f"sequences.{name} = {value} is of users whose last items are held out, and split.kind = "
                    f"{self.split.kind!r}; set it to 'leave_one_out', or leave {name} out"
                )
        for name in ("item_groups", "grouped_by") if self.split.kind != "cold_items" and self.sequences else ():
            if (value := getattr(self.sequences, name)) != SequenceOptions.model_fields[name].default:
                raise ValueError(
                    f"sequences.{name} = {value!r} is of cold items, and split.kind = {self.split.kind!r}; set it to "
                    f"'cold_items', or leave {name} out"
                )
        return self
