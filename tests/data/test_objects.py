"""Lines of objects, as JSON and as Python print them."""

from __future__ import annotations

import pytest

from raytune_rec.data.files.objects import object_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"asin": "B1", "price": 1.5}', {"asin": "B1", "price": 1.5}),
        ("{'title': \"Burt's\", 'categories': [['Beauty']]}\r", {"title": "Burt's", "categories": [["Beauty"]]}),
        ("{'title': 'a \\d'}", {"title": "a \\d"}),
        ("[1]", None),
        ("{'asin': print()}", None),
        ("{'a': " + "[" * 5000, None),
        ("{'a': 'not closed", None),
        ("", None),
    ],
)  # fmt: skip
def test_the_object_of_a_line(text: str, value: object) -> None:
    assert object_of(text) == value
