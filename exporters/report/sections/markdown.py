"""The report as Markdown: numbers and order here, wording in ``report.md.j2``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from exporters.proof.checks import Check, Status
from exporters.proof.parity import ParityResult
from exporters.report.gate_words import off_by
from exporters.report.records.document import FileParity, Gate, ReportDocument, Tier
from exporters.report.records.tiers import TierView, tiers_of
from exporters.report.sections.all import sections_of
from exporters.report.sections.kinds import kinds_table
from exporters.report.sections.text import cell_text, section_text, table_text
from exporters.report.wording import (
    COMPARISON,
    NOT_RUN,
    figure,
    human_count,
    human_size,
    number,
    pbm_with_false,
)

ALWAYS_SHOWN = ("gates", "parity", "checks")
"""Sections that say so where nothing was asked; others without anything in them are left out."""


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
        "cell": cell_text,
        "count": human_count,
        "number": number,
        "figure": figure,
        "wait": _wait,
        "asked_of": _asked_of,
        "pbm": pbm_with_false,
    }
    template = environment.from_string(
        files("exporters.report").joinpath("report.md.j2").read_text(encoding="utf-8")
    )
    kinds = kinds_table(document)
    images = {"training": [training.image for training in document.training]}
    targets = list(dict.fromkeys(tier.made.target for tier in document.tiers if tier.made))
    return template.render(
        report=document,
        pictures=pictures,
        targets=targets,
        summary=_summary_rows(document, targets),
        passed_gates=sum(gate.status == "passed" for gate in document.gates),
        parity_summary=_parity_summary(document.parity),
        verdict=_verdict(document.gates),
        gate_line=_gate_line,
        parity_line=_parity_line,
        checks_line=_checks_line(document.checks),
        kinds=None if kinds is None else table_text(kinds, caption=False),
        sections=[
            section_text(section, images.get(section.anchor, ()))
            for section in sections_of(document)
            if section.tables or section.paragraphs or section.anchor in ALWAYS_SHOWN
        ],
    )


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


def _wait(tier: Tier) -> str:
    """What a pose waits for: ``64 + 16 = 80``, future audio and playback; or the future alone."""
    if tier.future_ms is None or tier.algorithmic_latency_ms is None:
        return NOT_RUN
    playback_ms = tier.algorithmic_latency_ms - tier.future_ms
    future, both = f"{tier.future_ms:g}", f"{tier.algorithmic_latency_ms:g}"
    return f"{future} + {playback_ms:g} = {both}" if playback_ms else future


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
    return f"**{_loud(gate.status)}**, {cell_text(gate.name)}{found} ({asked})"


def _parity_line(result: ParityResult) -> str:
    ran = [item for item in result.sets if item.max_abs is not None]
    parts = []
    if ran:
        worst = max(ran, key=lambda item: item.max_abs or 0.0)
        parts.append(
            f"at most {number(worst.max_abs)} from its PyTorch source "
            f"({sum(item.windows for item in ran)} windows; worst at `{worst.worst_control}` "
            f"in {cell_text(worst.name)}; limit {number(result.max_abs_limit)})"
        )
    if codes := [item.max_lsb for item in ran if item.max_lsb is not None]:
        beyond = sum(item.beyond_lsb or 0 for item in ran)
        seldom = f", {beyond} beyond it" if beyond else ""
        parts.append(f"codes at most {max(codes)} apart (limit {result.max_lsb_limit}{seldom})")
    parts += [
        f"{cell_text(item.name)} {_loud(item.status)}: {cell_text(item.reason)}"
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
        f"\n- **FAILED**, `{check.file}`, {cell_text(check.what)}: {cell_text(check.detail)}"
        for check in checks
        if check.status == "failed"
    ]
    return f"Checks of structure, latency, lag and further runtimes: {said}." + "".join(failed)


def _loud(status: Status) -> str:
    return status.upper() if status == "failed" else status
