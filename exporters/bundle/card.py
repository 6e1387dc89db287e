"""The card of a bundle: ``README.md``, from which somebody who has only the folder can go on.

What the folder says itself (signature, golden windows, files) is read from it; what only its maker
knows comes as ``CardFacts``. Wording is in ``card.md.j2``; how a target's file is run stands in the
target's own template, ``card.TARGET.md.j2``.
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from exporters.atomic import write_atomically
from exporters.bundle.folder import CARD, GOLDEN, SIGNATURE, STAMP, model_files
from exporters.bundle.sums import SUMS
from exporters.files import describe_file
from exporters.mesh import MESH, read_mesh
from exporters.proof.golden import read as read_golden
from exporters.requirements import require
from exporters.signature import Signature, latency_in_words

NOT_RUN, NOT_STATED = "not run", "not stated"
_CODE_WIDTH = 96


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One figure, as the card shows it."""

    name: str
    value: float | str | None
    """None reads `not run`."""
    against: str
    """What it was measured against, and on which speech."""
    n: int | str | None
    """How many frames, clips or closures it stands on; None reads `not stated`."""
    command: str | None
    """The command that makes it again; None reads `not stated`."""


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a bundle cannot say of itself. None reads `not stated`; it holds no moment of time, so
    that equal facts give equal bytes. Raises ValueError for a figure that is not finite.
    """

    parameters: int | None
    trained_on: str | None
    """Whose speech, how much of it, and the teacher's part in it."""
    licence: str | None
    metrics: tuple[MetricRow, ...]

    def __post_init__(self) -> None:
        wrong = [
            f"{row.name} is {row.value}"
            for row in self.metrics
            if isinstance(row.value, float) and not math.isfinite(row.value)
        ]
        if wrong:
            raise ValueError(f"figures of a card must be finite, or None: {', '.join(wrong)}")


def write_card(folder: Path, facts: CardFacts) -> Path:
    """Write ``README.md`` into a bundle that has its model files, signature and golden windows.

    Equal bundles and facts give equal bytes. Raises ModelFileError and MissingToolError.
    """
    require("jinja2", purpose="write the card of a bundle")
    signature = Signature.read(folder / SIGNATURE)
    golden = read_golden(folder / GOLDEN)
    models = model_files(folder)
    text = _render(
        facts=facts,
        signature=signature,
        golden=golden,
        kinds=Counter(golden.kinds),
        files=_files(folder),
        models={target: path.name for path, target in models.items()},
        waits=latency_in_words(signature.future_ms, signature.hop_ms, signature.smoothing_ms),
        smoothed=_offsets(signature),
        mesh=read_mesh(folder / MESH).facts if (folder / MESH).exists() else None,
    )
    write_atomically(folder / CARD, text.encode())
    return folder / CARD


def _files(folder: Path) -> list[tuple[str, int]]:
    """Name and bytes of all that stands in a bundle beside its card and its sums."""
    return [
        (f"{path.name}/" if path.is_dir() else path.name, describe_file(path, "").bytes)
        for path in sorted(folder.iterdir())
        if path.name not in (CARD, SUMS, STAMP) and not path.name.startswith(".")
    ]


def _offsets(signature: Signature) -> list[tuple[int, float]]:
    """Hops from its own, and weight, of each pose that smoothing averages."""
    middle = len(signature.smoothing) // 2
    return [(i - middle, weight) for i, weight in enumerate(signature.smoothing) if weight]


def _render(**values: Any) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_template),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; text from outside goes through `cell`
    )
    environment.filters |= {"cell": _cell, "shown": _shown, "names": _names}
    return environment.get_template("card.md.j2").render(**values)


def _template(name: str) -> str | None:
    resource = files("exporters.bundle").joinpath(name)
    return resource.read_text(encoding="utf-8") if resource.is_file() else None


def _cell(text: object) -> str:
    """Text from outside, safe inside a table cell or a line; nothing reads `not stated`."""
    return NOT_STATED if text is None else " ".join(str(text).replace("|", "\\|").split())


def _shown(value: float | str | None) -> str:
    """A figure in three significant digits, whole above a thousand."""
    if value is None:
        return NOT_RUN
    if isinstance(value, str):
        return _cell(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _names(names: Sequence[str], indent: int = 4) -> str:
    """Names as string literals with commas between them, in lines of code."""
    lines, space = [""], " " * indent
    for literal in (json.dumps(name, ensure_ascii=False) for name in names):
        if lines[-1] and len(f"{space}{lines[-1]} {literal},") > _CODE_WIDTH:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{literal},"
    return "\n".join(space + line for line in lines).removesuffix(",")
