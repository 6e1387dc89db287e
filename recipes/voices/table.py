"""docs/voices.json, and docs/voices.md that is made of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from compress.judge import playback
from compress.judge.bootstrap import ratio_of_sums
from compress.judge.voice_kinds import numbered
from recipes.ablation.rows import Row, read_rows
from recipes.ablation.table import DOCS, NOT_RUN, markdown, of, rounded, share, share_short, spread
from recipes.readme import README, between
from recipes.voices.rows import ROWS

Result = dict[str, Any]

NATURAL, ENGLISH, FORMANT = "natural", "english", "synthetic"
KINDS = {
    NATURAL: "Natural voices never heard",
    ENGLISH: "Real English, the speaker is known",
    FORMANT: "Formant voices never heard",
}
BEGIN, END = (
    "<!-- shipped: written by python -m recipes.voices table -->\n",
    "<!-- end of shipped -->\n",
)
# PBM at F = 1 % on natural voices never heard: who, against whom, and the least ratio.
GOALS = (
    ("small", "teacher", 0.95),
    ("tiny", "small", 0.97),
    ("realtime", "small", 0.95),
    ("realtime-32", "small", 0.90),
    ("nano", "small", 0.90),
)
# R² to the teacher there.
LEAST_R2 = {"small": 0.78, "tiny": 0.72}
PARTS = {
    "voices": "How many voices: 16 minutes of English, 4,000 steps of `tiny`",
    "minutes": "How many minutes: all voices, 4,000 steps of `tiny`",
    "hybrid": "Stage 2 against stage 1, at full length",
}


def write(folder: Path) -> None:
    """Both files, and the README's table; rows without a result read ``not run``."""
    found = collected(folder)
    text = json.dumps(rounded(found), separators=(",", ":"))
    (DOCS / "voices.json").write_text(text + "\n", "utf-8")
    compose()


def compose() -> None:
    """docs/voices.md and the README's table, from docs/voices.json."""
    found = json.loads((DOCS / "voices.json").read_text("utf-8"))
    (DOCS / "voices.md").write_text(page(found), "utf-8")
    README.write_text(with_shipped(README.read_text("utf-8"), found), "utf-8")


def collected(folder: Path) -> dict[str, list[Result]]:
    """Results by row id, one for each seed that was run."""
    found: dict[str, list[Result]] = {}
    for row in read_rows(ROWS):
        paths = [folder / "results" / f"{row.id}-{seed}.json" for seed in row.seeds]
        results = [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]
        found[row.id] = [_shown(result) for result in results]
    return found


def _shown(result: Result) -> Result:
    """What the page is made of; sounds one by one only where goals are ratios of them."""
    kept = ("against_teacher", "against_truth")
    groups = {
        name: {k: group[k] for k in (*kept, *(("lips",) if name == NATURAL else ()))}
        for name, group in result["groups"].items()
    }
    return {k: v for k, v in result.items() if k != "log"} | {"groups": groups}


def page(found: dict[str, list[Result]]) -> str:
    rows = read_rows(ROWS)
    shipped = [row for row in rows if row.part == "shipped"]
    parts = [Path(__file__).with_name("head.md").read_text("utf-8").rstrip()]
    for group, title in KINDS.items():
        parts += [f"## {title}", figures(shipped, found, group)]
    parts += ["## By language", by_language(shipped, found), "## Goals", goals(found)]
    for part, title in PARTS.items():
        parts += [f"## {title}", figures([r for r in rows if r.part == part], found, NATURAL)]
    return "\n\n".join(parts) + "\n"


def with_shipped(readme: str, found: dict[str, list[Result]]) -> str:
    """The README with what ships: size, latency, and the first figures of two kinds of voices."""
    kinds = {NATURAL: "never heard", ENGLISH: "known speaker"}
    head = ["", "parameters", "waits (ms)"]
    for kind in kinds.values():
        head += [f"{kind}: R²", f"{kind}: PBM at F = 1 %"]
    lines = []
    for row in read_rows(ROWS):
        if row.part != "shipped":
            continue
        if not found.get(row.id):
            lines.append([row.title, NOT_RUN, *[""] * (len(head) - 2)])
            continue
        parameters, waits, _ = _facts(row, found[row.id][0])
        cells = [row.title if row.student == "teacher" else f"`{row.title}`", parameters, waits]
        for group in kinds:
            one = found[row.id][0]["groups"][group]
            r2 = "–" if row.student == "teacher" else of([one], "against_teacher", "r2", ".3f")
            cells += [r2, share_short([one["against_truth"]["pbm_at_1pct"]])]
        lines.append(cells)
    return between(readme, BEGIN, END, markdown(head, lines) + "\n")


def figures(rows: Sequence[Row], found: dict[str, list[Result]], group: str) -> str:
    """One line a row; mean ± standard deviation where there are several seeds."""
    head = [
        *("row", "parameters", "latency ms", "steps", "R²", "PBM at F = 1 % (n, 95 % interval)"),
        *("PBM", "F", "closure F1, phones", "closure F1, teacher", "jitter"),
    ]
    lines = []
    for row in rows:
        results, name = found.get(row.id, []), f"{row.title} (`{row.id}`)"
        if not results:
            lines.append([name, NOT_RUN, *[""] * (len(head) - 2)])
            continue
        groups = [result["groups"][group] for result in results]
        lines.append(
            [
                name + (f", {len(results)} seeds" if len(results) > 1 else ""),
                *_facts(row, results[0]),
                of(groups, "against_teacher", "r2", ".3f"),
                share([g["against_truth"]["pbm_at_1pct"] for g in groups]),
                share_short([g["against_truth"]["pbm"] for g in groups]),
                _fine([g["against_truth"]["closed_outside"] for g in groups]),
                of(groups, "against_truth", "phone_f1", ".2f"),
                of(groups, "against_teacher", "closure_f1", ".2f"),
                of(groups, "against_teacher", "jitter_ratio", ".2f"),
            ]
        )
    return markdown(head, lines)


def _facts(row: Row, result: Result) -> list[str]:
    if row.student == "teacher":
        return ["", "", ""]
    waits = result["future_ms"] + playback.latency_ms(result["smoothing"])
    return [f"{result['parameters']:,}", f"{waits:g}", f"{result['steps']:,}"]


def _fine(shares: Sequence[dict[str, float] | None]) -> str:
    known = [100 * one["value"] for one in shares if one is not None]
    return f"{spread(known, '.2f')} %" if known and len(known) == len(shares) else "–"


def by_language(rows: Sequence[Row], found: dict[str, list[Result]]) -> str:
    """R² to the teacher and, where phones are known, PBM at F = 1 % with n, of each language."""
    done = [row for row in rows if found.get(row.id)]
    names = sorted(
        {g for row in done for g in found[row.id][0]["groups"] if g.startswith((NATURAL, "real "))}
        - {NATURAL}
    )
    lines = []
    for name in names:
        cells = []
        for row in done:
            group = found[row.id][0]["groups"][name]
            pbm = group["against_truth"]["pbm_at_1pct"]
            close = of([group], "against_teacher", "r2", ".2f")
            cells.append(close if pbm is None else f"{close}, {pbm['value']:.0%} ({pbm['n']})")
        lines.append([name, *cells])
    return markdown(["speech", *(row.title for row in done)], lines) if lines else NOT_RUN


def goals(found: dict[str, list[Result]]) -> str:
    """PBM at F = 1 % of one model over another's on the same sounds, drawn over voices."""
    head = ["goal", "ratio (95 % interval)", "n", "reached"]
    lines = []
    for who, whom, least in GOALS:
        goal = f"{who}: PBM at F = 1 % ≥ {least:.0%} of {whom}'s"
        if not found.get(who) or not found.get(whom):
            lines.append([goal, NOT_RUN, "", ""])
            continue
        a, b = (found[name][0]["groups"][NATURAL]["lips"] for name in (who, whom))
        value, low, high = ratio_of_sums(
            *(np.array(one["sealed_at_1pct"], np.float64) for one in (a, b)),
            numbered(a["voices"]),
        )
        lines.append(
            [
                goal,
                f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
                f"{sum(a['sounds'])}",
                "yes" if value >= least else "no",
            ]
        )
    for who, least in LEAST_R2.items():
        goal = f"{who}: R² to the teacher ≥ {least:g}"
        if not found.get(who):
            lines.append([goal, NOT_RUN, "", ""])
            continue
        value = found[who][0]["groups"][NATURAL]["against_teacher"]["r2"]
        lines.append([goal, f"{value:.3f}", "", "yes" if value >= least else "no"])
    return markdown(head, lines)
