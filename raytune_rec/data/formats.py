"""How text says a number where it is not written plainly: `[data.options.formats] label = "bool"`.

`bool`: true or false, yes or no, t or f, y or n, 1 or 0. `iso`: a date, or a date and a time, as seconds since 1970. `decimal`: a
number with a currency sign, a decimal comma or thousands set apart, where there is one way to read it; `decimal_comma` and
`decimal_point` say which mark is which, for numbers such as 1,234.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal

from raytune_rec.data.instants import NUMBER, parts_of_iso

FormatName = Literal["bool", "iso", "decimal", "decimal_comma", "decimal_point"]
_BOOL = {word: float(value) for value, words in ((1, "true yes t y 1 1.0"), (0, "false no f n 0 0.0")) for word in words.split()}
_UNCLEAR = re.compile(r"[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}")
_GROUPED = {mark: re.compile(rf"[+-]?[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+") for mark in ",."}
_GAPS = re.compile(r"(?<=[0-9])['\u2019\s](?=[0-9]{3}(?![0-9]))")


def plain_number(text: str) -> float | None:
    """A number in digits, with a point and an exponent if need be; infinite where a float64 cannot hold it."""
    text = text.strip()
    return float(text) if NUMBER.fullmatch(text) else None


def _bool(text: str) -> float | None:
    return _BOOL.get(text.strip().casefold())


def _iso(text: str) -> float | None:
    read = parts_of_iso(text)
    return None if read is None else read[0] + read[1] / 1e9


def _bare(text: str) -> str:
    """Without currency signs, and without the blanks and apostrophes between thousands."""
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Sc").strip()
    return _GAPS.sub("", text.replace("\u2212", "-"))


def _marked(text: str, mark: str) -> float | None:
    other = "." if mark == "," else ","
    whole, point, share = _bare(text).partition(mark)
    if other in whole and not _GROUPED[other].fullmatch(whole):
        return None
    return plain_number(whole.replace(other, "") + ("." + share if point else ""))


def _decimal(text: str) -> float | None:
    bare = _bare(text)
    if _UNCLEAR.fullmatch(bare):
        return None
    for mark in ",.":
        if bare.count(mark) > 1 and _GROUPED[mark].match(bare):
            return _marked(text, "." if mark == "," else ",")
    return _marked(text, "," if bare.rfind(",") > bare.rfind(".") else ".")


PARSERS: Mapping[str, Callable[[str], float | None]] = {
    "": plain_number,
    "bool": _bool,
    "iso": _iso,
    "decimal": _decimal,
    "decimal_comma": lambda text: _marked(text, ","),
    "decimal_point": lambda text: _marked(text, "."),
}


def suggested(text: str) -> str:
    """The format that reads a text which is no plain number, empty where none does."""
    if _UNCLEAR.fullmatch(_bare(text)):
        return "decimal_comma" if "," in text else "decimal_point"
    return next((name for name in ("bool", "iso", "decimal") if PARSERS[name](text) is not None), "")
