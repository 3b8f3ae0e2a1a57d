"""Item text."""

from __future__ import annotations

import pytest

from raytune_rec.data.text.items import item_text

PEN = {"title": "Blue pen", "brand": "Bic", "category": "Office, Pens", "price": "$2.00", "description": ""}


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        (["category", "title"], "(category: Office, Pens) Blue pen"),
        (["title", "category"], "Blue pen (category: Office, Pens)"),
        (
            ["category", "title", "brand", "price", "description"],
            "(category: Office, Pens) Blue pen (brand: Bic) (price: $2.00)",
        ),
        (["description"], ""),
        ([], ""),
    ],
)
def test_item_text_has_the_attributes_in_their_order(attributes: list[str], text: str) -> None:
    assert item_text(PEN, attributes) == text
