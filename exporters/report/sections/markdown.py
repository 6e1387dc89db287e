"""The report as Markdown: numbers and order here, wording in ``report.md.j2``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from exporters.measuring.figures import Arena, Latency, Pace
from exporters.proof.checks import Check, Status
from exporters.proof.parity import ParityResult
from exporters.report.gate_words import off_by
from exporters.report.records.chain import Measurements
from exporters.report.records.compression import KeptLimit
from exporters.report.records.document import FileParity, Gate, ReportDocument, Tier
from exporters.report.records.tiers import TierView, tiers_of
from exporters.report.sections.kind_table import KIND_HEADERS, KIND_NOTE, kind_rows
from exporters.report.sections.not_speech import NOTE, sound_table, summary_table
from exporters.report.wording import (
    CHOICES,
    COMPARISON,
    HEADERS,
    NOT_RUN,
    figure,
    header,
    human_count,
    human_size,
    limit_cells,
    number,
    pbm_with_false,
    percent,
    ratio_text,
)


@dataclass(frozen=True)
class SummaryRow:
    """A row of the first table: a tier by all its files, or what it is compared with."""

    name: str
    tier: Tier
    sizes: dict[str, str]
    pace: str
    gain: str


def to_markdown(document: ReportDocument, pictures: bool = True) -> str:
    """Render the whole report: one screen, and the rest folded; what is null reads ``not run``.

    Without `pictures` none is shown: what they would be drawn of is not there.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML; text from outside goes through `cell`
    )
    environment.filters |= {
        "cell": _cell,
        "size": human_size,
        "count": human_count,
        "number": number,
        "figure": figure,
        "pace": _pace,
        "wait": _wait,
        "part": _part,
        "header": header,
        "asked_of": _asked_of,
        "percent": percent,
        "pbm": pbm_with_false,
        "ratio": ratio_text,
        "choice": CHOICES.__getitem__,
        "limit_row": _limit_row,
        "loud": _loud,
        "times": _times,
        "arena": _arena,
    }
    template = environment.from_string(
        files("exporters.report").joinpath("report.md.j2").read_text(encoding="utf-8")
    )
    tiers = best_first(document.tiers)
    targets = list(dict.fromkeys(tier.made.target for tier in document.tiers if tier.made))
    return template.render(
        report=document,
        pictures=pictures,
        targets=targets,
        summary=_summary_rows(document, targets),
        passed_gates=sum(gate.status == "passed" for gate in document.gates),
        parity_summary=_parity_summary(document.parity),
        tiers=tiers,
        files=list({tier.path: tier for tier in tiers if tier.path is not None}.values()),
        verdict=_verdict(document.gates),
        gate_line=_gate_line,
        parity_line=_parity_line,
        checks_line=_checks_line(document.checks),
        teacher_metrics=_metrics([tier.against_teacher for tier in tiers]),
        truth_metrics=_metrics([tier.against_truth for tier in tiers]),
        integers=_tells_codes([entry.result for entry in document.parity]),
        kinds=kind_rows(document),
        languages=kind_rows(document, languages=True),
        kind_headers=KIND_HEADERS,
        kind_note=KIND_NOTE,
        not_speech=[table for table in (summary_table(tiers), sound_table(tiers)) if table[1]],
        not_speech_note=NOTE,
        regions=list(dict.fromkeys(name for tier in tiers for name in tier.by_region)),
    )


def summary(document: ReportDocument) -> list[str]:
    """The main table in a few columns of plain text, best first, for a terminal."""
    rows = _summary_rows(document, [])
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        r2 = _asked_of(figure(row.tier.against_teacher.get("r2")), row.tier, "student", "baseline")
        truth = row.tier.against_truth
        at_1pct = figure(truth.get("pbm_at_1pct"))
        size = "–" if row.tier.bytes is None else human_size(row.tier.bytes)
        lines.append(
            f"{row.name:<{width}}  {size:>7}  R² to teacher {r2:<9}  "
            f"PBM at F = 1 % {at_1pct}  PBM {pbm_with_false(truth)}"
        )
    return lines


def _summary_rows(document: ReportDocument, targets: Sequence[str]) -> list[SummaryRow]:
    """One row a tier and smoothing, best first; files of a tier differ in what they cost alone."""
    views = {view.name: view for view in tiers_of(document)}
    rows, seen = [], set()
    for tier in best_first(document.tiers):
        if tier.made is None:
            sizes = dict.fromkeys(targets, "–")
            if tier.bytes is not None and targets:  # a checkpoint, for no target
                sizes[targets[0]] = f"{human_size(tier.bytes)} as it is"
            rows.append(SummaryRow(tier.name, tier, sizes, "–", "–"))
            continue
        view = views[tier.made.tier]
        ships = tier in view.files
        if (view.name, tier.smoothing) in seen:
            continue
        seen.add((view.name, tier.smoothing))
        name = view.title if ships else f"{view.title}, without smoothing"
        sizes = {target: _size_for(view, target) for target in targets}
        rows.append(
            SummaryRow(name, view.lead if ships else tier, sizes, _paces(view), _gain(view))
        )
    return rows


def _size_for(view: TierView, target: str) -> str:
    row = view.of(target)
    return "–" if row is None else human_size(row.bytes)


def _paces(view: TierView) -> str:
    """``0.12 / 0.11``: the median of each file, in the order of the columns."""
    if all(row.latency is None for row in view.files):
        return NOT_RUN
    return " / ".join(
        NOT_RUN if row.latency is None else number(row.latency.median_ms) for row in view.files
    )


def _gain(view: TierView) -> str:
    """``× 26, × 40``: by the file that takes the least beside the teacher."""
    cost = view.cost
    if cost is None:
        return NOT_RUN
    smaller = NOT_RUN if cost.smaller is None else f"× {number(cost.smaller)}"
    return f"{smaller}, × {number(cost.faster)}"


def _times(pace: Pace) -> str:
    """``0.63 (0.6–0.66)``: a ratio and its range."""
    if pace.ratio is None or pace.ratio_low is None or pace.ratio_high is None:
        return NOT_RUN
    span = f"{pace.ratio_low:.2f}\N{EN DASH}{pace.ratio_high:.2f}"
    return f"{pace.ratio:.2f} ({span})"


def _arena(arena: Arena | None) -> str:
    if arena is None:
        return "–"
    return _cell(arena.detail) if arena.bytes is None else human_size(arena.bytes)


def _parity_summary(parity: tuple[FileParity, ...]) -> str:
    if not parity:
        return "**not run**"
    passed = [entry for entry in parity if entry.result.status == "passed"]
    known = [item.max_abs or 0.0 for entry in passed for item in entry.result.sets]
    worst = f", at most {number(max(known))} apart" if known else ""
    return f"{len(passed)} of {len(parity)} files agree with their PyTorch source{worst}."


def _asked_of(text: str, tier: Tier, *kinds: str) -> str:
    """A dash instead of ``not run`` where a tier is of a kind that has no such figure."""
    return text if text != NOT_RUN or tier.kind in kinds else "–"


def best_first(tiers: tuple[Tier, ...]) -> list[Tier]:
    """The teacher, then whatever is nearest to it by MSE, students and baselines alike.

    Rows without that figure come last, in the order given.
    """

    def key(tier: Tier) -> tuple[bool, bool, float]:
        mse = tier.against_teacher.get("mse")
        value = mse if isinstance(mse, (int, float)) else None
        return tier.kind != "teacher", value is None, 0.0 if value is None else value

    return sorted(tiers, key=key)


def _pace(latency: Latency | None) -> str:
    if latency is None:
        return NOT_RUN
    return f"{number(latency.median_ms)} ({number(100 * latency.frame_share)} %)"


def _wait(tier: Tier) -> str:
    """What a pose waits for: ``64 + 16 = 80``, or the future alone where nothing smooths."""
    if tier.future_ms is None or tier.algorithmic_latency_ms is None:
        return NOT_RUN
    smoothing_ms = tier.algorithmic_latency_ms - tier.future_ms
    future, both = f"{tier.future_ms:g}", f"{tier.algorithmic_latency_ms:g}"
    return f"{future} + {smoothing_ms:g} = {both}" if smoothing_ms else future


def _part(measured: dict[str, float | None] | None) -> str:
    """Figures of one part of the face: ``0.0031 (0.812)``."""
    if measured is None:
        return NOT_RUN
    return f"{number(measured.get('mse'))} ({number(measured.get('correlation'))})"


def _limit_row(name: str, kept: KeptLimit) -> str:
    """A limit of the int8 gate as cells: ``MSE, × float | 1.021 | at most 1.050 | yes``."""
    what, value, limit, held = limit_cells(name, kept)
    return " | ".join((_cell(what), value, f"at most {limit}", held))


def _cell(text: object) -> str:
    """Text from outside, safe inside a table cell or a line."""
    return " ".join(str(text).replace("|", "\\|").split())


def _metrics(rows: list[Measurements]) -> list[str]:
    """Every metric that some row has, well-known ones first, then as they come."""
    names = dict.fromkeys(name for row in rows for name in row)
    return sorted(names, key=lambda name: [*HEADERS, name].index(name))


def _verdict(gates: tuple[Gate, ...]) -> str:
    if not gates:
        return "no gates in this recipe"
    counts = Counter(gate.status for gate in gates)
    if counts["passed"] == len(gates):
        return f"all {len(gates)} gates passed" if len(gates) > 1 else "the gate passed"
    order: tuple[Status, ...] = ("failed", "not run", "passed")
    parts = [f"{counts[status]} {status}" for status in order if counts[status]]
    return f"of {len(gates)} gates " + ", ".join(parts)


def _gate_line(gate: Gate) -> str:
    limit = f"{COMPARISON[gate.comparison]} {number(gate.limit)}"
    found = off = ""
    if gate.value is not None:
        found = f": {number(gate.value)}" + (f" {gate.beside}" if gate.beside else "")
        off = off_by(gate.value, gate.limit, gate.comparison)
    asked = f"asked {limit}, {off}" if off else f"asked {limit}"
    return f"**{_loud(gate.status)}**, {_cell(gate.name)}{found} ({asked})"


def _parity_line(result: ParityResult) -> str:
    ran = [item for item in result.sets if item.max_abs is not None]
    parts = []
    if ran:
        worst = max(ran, key=lambda item: item.max_abs or 0.0)
        parts.append(
            f"at most {number(worst.max_abs)} from its PyTorch source "
            f"({sum(item.windows for item in ran)} windows; worst at `{worst.worst_control}` "
            f"in {_cell(worst.name)}; limit {number(result.max_abs_limit)})"
        )
    if codes := [item.max_lsb for item in ran if item.max_lsb is not None]:
        beyond = sum(item.beyond_lsb or 0 for item in ran)
        seldom = f", {beyond} beyond it" if beyond else ""
        parts.append(f"codes at most {max(codes)} apart (limit {result.max_lsb_limit}{seldom})")
    parts += [
        f"{_cell(item.name)} {_loud(item.status)}: {_cell(item.reason)}"
        for item in result.sets
        if item.status != "passed"
    ]
    return f"**{_loud(result.status)}**: " + ("; ".join(parts) or "no windows were given")


def _checks_line(checks: tuple[Check, ...]) -> str:
    """How many of the other checks passed, and by name whatever failed."""
    if not checks:
        return ""
    counts = Counter(check.status for check in checks)
    order: tuple[Status, ...] = ("passed", "failed", "not run")
    said = ", ".join(f"{counts[status]} {_loud(status)}" for status in order if counts[status])
    failed = [
        f"\n- **FAILED**, `{check.file}`, {_cell(check.what)}: {_cell(check.detail)}"
        for check in checks
        if check.status == "failed"
    ]
    return f"Checks of structure, latency, lag and further runtimes: {said}." + "".join(failed)


def _tells_codes(results: list[ParityResult]) -> bool:
    """Whether codes were compared for some file."""
    return any(item.max_lsb is not None for result in results for item in result.sets)


def _loud(status: Status) -> str:
    return status.upper() if status == "failed" else status
