"""One self-contained HTML file: markup by Jinja, figures as JSON, scripts and styles in the file."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from exporters.report.decide.advice import join
from exporters.report.page.cards import cards_of, known_teacher
from exporters.report.page.packing import audio_of, fitting, pack_clip
from exporters.report.page.view import view_of
from exporters.report.records.clips import Clips
from exporters.report.records.document import ReportDocument
from exporters.report.records.tiers import tiers_of
from exporters.report.sections import proofs
from exporters.report.sections.all import sections_of
from exporters.report.sections.kinds import kinds_table
from exporters.report.sections.tables import Code, Mark
from exporters.report.wording import human_size

LIMIT_BYTES = 5_000_000

# In this order, as one script: each uses only names of those before it.
_SCRIPTS = (
    *("data", "choice", "charts", "overview", "shapes", "face", "stand_ins", "clock", "curves"),
    *("player", "regions", "training", "main"),
)


def to_page(document: ReportDocument, clips: Clips | None, audio: Mapping[str, bytes]) -> str:
    """The page as one HTML file that needs nothing else.

    ``audio`` has FLAC by the name that a clip gives it; a clip without is shown without sound. If
    the page would be larger than `LIMIT_BYTES`, clips are left out from the end, and it says so.
    """
    views, teacher = tiers_of(document), known_teacher(document)
    names = [view.name for view in views]
    given = clips.clips if clips else ()
    packed = [_embedded(pack_clip(clip, names, audio_of(clip, audio))) for clip in given]
    data = _embedded(view_of(document, views, clips))

    def rendered(kept: Sequence[str]) -> str:
        return _render(
            report=document,
            cards=cards_of(document, views),
            teacher_size=human_size(teacher.bytes) if teacher and teacher.bytes else "",
            verdict=proofs.verdict_of(document.gates),
            kinds=kinds_table(document),
            sections=sections_of(document),
            data=data,
            clips=kept,
            left_out=[clip.clip for clip in given[len(kept) :]],
        )

    room = LIMIT_BYTES - len(rendered([]).encode()) - sum(len(clip.clip) + 80 for clip in given)
    # JSON in which nothing is left that HTML would read: one byte a character.
    return rendered(packed[: fitting([len(clip) + 80 for clip in packed], room)])


def _render(**values: Any) -> str:
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FunctionLoader(_text),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.tests |= {
        "mark": lambda cell: isinstance(cell, Mark),
        "code": lambda cell: isinstance(cell, Code),
    }
    environment.filters |= {"and_join": join}
    style, chart, script = _style(), _chart(), _script()
    # Nothing but these three runs, whatever text from outside would have the browser do; and
    # nothing is fetched.
    policy = (
        f"default-src 'none'; script-src '{_hash(chart)}' '{_hash(script)}'; "
        f"style-src '{_hash(style)}'; img-src data:; media-src blob:; base-uri 'none'; "
        "form-action 'none'"
    )
    values["data"] = Markup(values["data"])  # `_embedded` left nothing to escape
    values["clips"] = [Markup(clip) for clip in values["clips"]]
    return environment.get_template("page.html.j2").render(
        policy=policy,
        style=Markup(style),
        chart=Markup(chart),
        script=Markup(script),
        licence=_text("vendor/chart.LICENSE.md"),
        **values,
    )


def _embedded(value: Any) -> str:
    """JSON that means nothing to HTML: `<`, `>` and `&` only as escapes, ASCII only."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _style() -> str:
    return _text("page.css")


def _chart() -> str:
    """Chart.js without its last line, which names a file that does not travel."""
    lines = _text("vendor/chart.umd.min.js").splitlines()
    return "\n".join(line for line in lines if not line.startswith("//# sourceMappingURL="))


def _script() -> str:
    parts = "\n".join(_text(f"scripts/{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();\n'


def _text(name: str) -> str:
    return files("exporters.report.page").joinpath(name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
