"""Titles, brands and categories of Amazon Beauty (2014, 5-core) as a file of metadata, from two public copies of them.

    python -m benchmarks.beauty_metadata FOLDER meta_Beauty.json.gz

For those who have not Amazon's own `meta_Beauty.json.gz`, which the source `amazon` reads as it is. FOLDER holds
`item_id_to_int.json` and `products_lookup.csv` (dh-r/LLM-Sequential-Recommendation) and `pgpr/` with `product`, `brand`,
`brand_p_b`, `category` and `category_p_c.txt.gz` (orcax/PGPR). Neither has prices.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.mistakes import told
from raytune_rec.errors import DataError


def products(folder: Path) -> Iterator[dict[str, Any]]:
    """A product for each line of `product.txt.gz`, joined by its ASIN; what is not known of it is left out."""
    numbers = json.loads((folder / "item_id_to_int.json").read_text())
    with open(folder / "products_lookup.csv", newline="", encoding="utf-8") as file:
        titles = {int(row["global_product_id"]): row["name"] for row in csv.DictReader(file)}
    names = ("product", "brand", "brand_p_b", "category", "category_p_c")
    asins, brands, brand_of, categories, categories_of = (_lines(folder / "pgpr" / f"{name}.txt.gz") for name in names)
    for asin, brand, paths in zip(asins, brand_of, categories_of, strict=True):
        known = {"title": titles.get(numbers.get(asin, -1)), "brand": brands[int(brand)] if brand else None}
        known |= {"category": [categories[int(place)] for place in paths.split()]}
        yield {"asin": asin, **{key: value for key, value in known.items() if value}}


def write(folder: Path, out: Path) -> None:
    """JSON lines, gzipped.

    Raises:
        DataError: the files of the folder do not belong together; nothing is written then.
    """
    try:
        lines = [json.dumps(product) + "\n" for product in products(folder)]
    except (ValueError, LookupError, EOFError) as error:
        raise DataError(f"{folder}: its files do not belong together, or one is cut off ({error}); copy them anew.") from None
    with gzip.open(out, "wt", encoding="utf-8") as file:
        file.writelines(lines)


def _lines(path: Path) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read().splitlines()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    with told():
        write(arguments.folder, arguments.out)
