"""docs/results.json, and the page of docs/results.md that is made of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from compress.judge.bootstrap import Contrast, paired_difference, paired_ratio
from compress.speech.audio import HOP, SAMPLE_RATE
from exporters.signature import hops_awaited
from recipes.ablation.rows import Row, read_rows

Result = dict[str, Any]

DOCS = Path(__file__).parents[2] / "docs"
NOT_RUN = "not run"
ENGLISH, SYNTHETIC, OTHERS, QUIET = (
    "english",
    "synthetic",
    "spanish and italian",
    "english at -30 dB",
)
# Against the teacher's or small's PBM accuracy: who, against whom, and the least ratio.
GOALS = (
    ("small", "teacher", 0.95),
    ("tiny", "small", 0.97),
    ("realtime", "small", 0.97),
    ("tiny-realtime", "small", 0.97),
)


def write(folder: Path) -> None:
    """docs/results.json from the rows' results in `folder`; rows without one will read ``not run``."""
    (DOCS / "results.json").write_text(json.dumps(collected(folder), indent=1) + "\n", "utf-8")


def collected(folder: Path) -> dict[str, list[Result]]:
    """Results by row id, one for each seed that was run; without the training logs."""
    found: dict[str, list[Result]] = {}
    for row in read_rows():
        paths = [folder / "results" / f"{row.id}-{seed}.json" for seed in row.seeds]
        results = [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]
        found[row.id] = [{k: v for k, v in result.items() if k != "log"} for result in results]
    return found


def rounded(value: Any) -> Any:
    """Six digits: more than any table shows, in a third of the bytes."""
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def page(found: dict[str, list[Result]]) -> str:
    parts = [(Path(__file__).with_name("results_head.md")).read_text("utf-8").rstrip()]
    rows = read_rows()
    for title, group, text in (
        ("Real English: the speaker is known, the sentences are held out", ENGLISH, ""),
        ("Synthetic voices that were never trained on", SYNTHETIC, ""),
        ("Real English, 30 dB quieter", QUIET, "The same clips as in the first table, at −30 dB."),
    ):
        parts += [f"## {title}", *([text] if text else []), quality_table(rows, found, group)]
    parts += [
        "## Real Spanish and Italian, held-out sentences",
        "No phone alignments, so against the teacher alone.",
        quality_table(rows, found, OTHERS, phones=False),
    ]
    parts += ["## With and without smoothing", smoothing_table(rows, found)]
    parts += ["## Goals", goals(found)]
    return "\n\n".join(parts) + "\n"


def quality_table(
    rows: Sequence[Row], found: dict[str, list[Result]], group: str, phones: bool = True
) -> str:
    """One line a row; mean ± standard deviation where there are several seeds."""
    pbm = ["PBM (n, 95 % interval)", "shut on vowels"] if phones else []
    retention = ["PBM, % of small"] if phones else []
    head = [
        "row",
        "parameters",
        "latency ms",
        "steps",
        "min",
        "MSE · 10³",
        "correlation",
        *pbm,
        "closure F1",
        "jitter",
        "lag ms",
        *retention,
    ]
    lines = []
    small = [result["groups"].get(group) for result in found["small"]]
    for row in rows:
        results, name = found[row.id], f"{row.title} (`{row.id}`)"
        if results and len(row.seeds) > 1:
            name += f", {len(results)} of {len(row.seeds)} seeds"
        if not results:
            lines.append([name, NOT_RUN, *[""] * (len(head) - 2)])
            continue
        groups = [result["groups"][group] for result in results]
        first = results[0]
        facts = (
            ["", "", "", ""]
            if row.student == "teacher"
            else [
                f"{first['parameters']:,}",
                f"{first['future_ms'] + smoothing_ms(first['smoothing']):g}",
                f"{first['steps']:,}",
                spread([r["minutes"] for r in results], ".1f"),
            ]
        )
        cells = [
            of(groups, "against_teacher", "mse", ".2f", 1000),
            of(groups, "against_teacher", "correlation", ".3f"),
        ]
        if phones:
            cells += [
                share([g["against_truth"]["pbm"] for g in groups]),
                share_short([g["against_truth"]["false_closures"] for g in groups]),
            ]
        cells += [
            of(groups, "against_teacher", "closure_f1", ".2f"),
            of(groups, "against_teacher", "jitter_ratio", ".2f"),
            of(groups, "against_teacher", "lag_ms", ".1f"),
        ]
        if phones:
            cells.append(retained(groups, small))
        lines.append([name, *facts, *cells])
    return markdown(head, lines)


def smoothing_ms(weights: Sequence[float]) -> float:
    """What a pose waits for its last prediction: these rows were asked at each frame's own time."""
    return 1000 * HOP * hops_awaited(weights) / SAMPLE_RATE


def smoothing_table(rows: Sequence[Row], found: dict[str, list[Result]]) -> str:
    head = ["row", "latency ms", "MSE · 10³", "correlation", "PBM", "jitter", "lag ms"]
    lines = []
    for row in rows:
        for result in found[row.id][:1]:
            bare = f"{ENGLISH} without smoothing"
            if bare not in result["groups"]:
                continue
            added = smoothing_ms(result["smoothing"])
            for name, group, latency in (("with", ENGLISH, added), ("without", bare, 0.0)):
                groups = [result["groups"][group]]
                lines.append(
                    [
                        f"`{row.id}` {name}",
                        f"{result['future_ms'] + latency:g}",
                        of(groups, "against_teacher", "mse", ".2f", 1000),
                        of(groups, "against_teacher", "correlation", ".3f"),
                        share_short([g["against_truth"]["pbm"] for g in groups]),
                        of(groups, "against_teacher", "jitter_ratio", ".2f"),
                        of(groups, "against_teacher", "lag_ms", ".1f"),
                    ]
                )
    return markdown(head, lines) if lines else NOT_RUN


def goals(found: dict[str, list[Result]]) -> str:
    """PBM accuracy of one model over another's on the same intervals, paired by clip."""
    head = ["goal", "speech", "n", "difference (95 % interval)", "ratio (95 % interval)", "reached"]
    lines = []
    for who, whom, least in GOALS:
        goal = f"{who} ≥ {least:.0%} of {whom}"
        if not found[who] or not found[whom]:
            lines.append([goal, "", "", NOT_RUN, "", ""])
            continue
        for groups in ((ENGLISH,), (SYNTHETIC,), (ENGLISH, SYNTHETIC)):
            a, b = (
                [
                    np.array(case, bool)
                    for g in groups
                    for case in found[name][0]["groups"][g]["pbm_cases"]
                ]
                for name in (who, whom)
            )
            difference, ratio = paired_difference(a, b), paired_ratio(a, b)
            reached = "yes" if ratio.value >= least else "no"
            lines.append(
                [
                    goal,
                    " + ".join(groups),
                    f"{ratio.n}",
                    contrast(difference, 100, " points"),
                    contrast(ratio, 100, " %"),
                    reached,
                ]
            )
    return markdown(head, lines)


def of(groups: Sequence[Result], kind: str, name: str, form: str, scale: float = 1.0) -> str:
    values = [group[kind][name] for group in groups]
    return "–" if any(v is None for v in values) else spread([scale * v for v in values], form)


def spread(values: Sequence[float], form: str) -> str:
    if len(values) == 1:
        return format(values[0], form)
    return f"{mean(values):{form}} ± {stdev(values):{form}}"


def share(shares: Sequence[dict[str, float] | None]) -> str:
    known = [s for s in shares if s is not None]
    if len(known) < len(shares):
        return "–"
    if len(known) == 1:
        one = known[0]
        return f"{one['value']:.1%} ({one['n']}, {one['low']:.1%} to {one['high']:.1%})"
    low, high = min(s["low"] for s in known), max(s["high"] for s in known)
    return f"{spread([100 * s['value'] for s in known], '.1f')} % ({known[0]['n']}, {low:.1%} to {high:.1%})"


def share_short(shares: Sequence[dict[str, float] | None]) -> str:
    known = [100 * s["value"] for s in shares if s is not None]
    return f"{spread(known, '.1f')} %" if len(known) == len(shares) else "–"


def retained(groups: Sequence[Result], small: Sequence[Result]) -> str:
    if not small or small[0]["against_truth"]["pbm"] is None:
        return "–"
    whole = small[0]["against_truth"]["pbm"]["value"]
    values = [g["against_truth"]["pbm"] for g in groups]
    return (
        "–"
        if any(v is None for v in values)
        else spread([100 * v["value"] / whole for v in values], ".0f")
    )


def contrast(value: Contrast, scale: float, unit: str) -> str:
    return f"{scale * value.value:.1f}{unit} ({scale * value.low:.1f} to {scale * value.high:.1f})"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
