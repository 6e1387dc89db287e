"""docs/results.md, from the figures in docs/: each ingredient's, then those of smaller students."""

import json

from recipes.ablation.table import DOCS, page
from recipes.compression.table import section


def compose() -> None:
    """Write docs/results.md anew."""
    ingredients = json.loads((DOCS / "results.json").read_text("utf-8"))
    smaller = json.loads((DOCS / "compression.json").read_text("utf-8"))
    (DOCS / "results.md").write_text(f"{page(ingredients)}\n{section(smaller)}\n", "utf-8")
