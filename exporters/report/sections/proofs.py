"""What was asked of the run and of its files, and what was found: gates, chain, parity, checks."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from exporters.proof.checks import Status, overall
from exporters.report.figures import excused
from exporters.report.gate_words import apart, in_words, off_by, plain
from exporters.report.records.chain import TEACHER, Hop
from exporters.report.records.document import Gate, ReportDocument
from exporters.report.sections.tables import (
    Cell,
    Code,
    Section,
    Table,
    count_of,
    rows_of,
    status_cell,
)
from exporters.report.wording import COMPARISON, NOT_RUN, figure, number, pbm_with_false, ratio_text

NONE = "–"
_ORDER: tuple[Status, ...] = ("failed", "not run", "passed")


@dataclass(frozen=True)
class Verdict:
    """What the gates say together, and the broken ones, one line each."""

    status: Status
    text: str
    broken: tuple[str, ...]


def verdict_of(gates: Sequence[Gate]) -> Verdict:
    """The gates in a few words. No gate is no verdict, and `not run` is not passed."""
    if not gates:
        return Verdict("not run", "This recipe sets no limits, so there is no verdict.", ())
    status = overall(gate.status for gate in gates)
    if status == "passed":
        text = f"All {len(gates)} gates passed" if len(gates) > 1 else "The gate passed"
    else:
        text = f"Of {len(gates)} gates " + counted(gate.status for gate in gates)
    broken = [f"{gate.name}: {in_words(gate)}" for gate in gates if gate.status == "failed"]
    return Verdict(status, text, tuple(broken))


def counted(states: Iterable[Status]) -> str:
    """``2 failed, 1 not run, 9 passed``; what did not pass comes first."""
    counts = Counter(states)
    return ", ".join(f"{counts[status]} {status}" for status in _ORDER if counts[status])


def gates_section(document: ReportDocument) -> Section:
    """Every limit of the recipe."""
    return Section(
        anchor="gates",
        title="Gates",
        summary=counted(gate.status for gate in document.gates) or "none in this recipe",
        tables=(
            Table(
                caption="The recipe's limits",
                headers=("Gate", "Status", "Found", "Asked", "Missed by"),
                rows=rows_of([_gate(gate, excused(document)) for gate in document.gates]),
                words=2,
            ),
        )
        if document.gates
        else (),
    )


def _gate(gate: Gate, cannot_run: Collection[str]) -> tuple[Cell, ...]:
    sign = COMPARISON[gate.comparison]
    name = f"{gate.name} (its file is only evaluated on this machine)"
    said = name if gate.name in cannot_run else gate.name, status_cell(gate.status)
    if gate.value is None:
        found = "no number" if gate.status == "failed" else NOT_RUN
        return (*said, found, f"{sign} {plain(gate.limit)}", "")
    found, asked = apart(gate.value, gate.limit)
    found += f" {gate.beside}" if gate.beside else ""
    off = off_by(gate.value, gate.limit, gate.comparison)
    return (*said, found, f"{sign} {asked}", off)


def chain_section(document: ReportDocument) -> Section:
    """From the teacher to each file, hop by hop."""
    table = Table(
        caption="What each hop cost on held-out speech",
        headers=(
            *("Student", "Hop", "Made of", "Runs in", "R² to teacher", "MSE, ×", "Differs by"),
            *("Jitter, × the teacher's", "PBM at F = 1 %", "PBM with F"),
        ),
        rows=rows_of([_hop(hop) for hop in document.chain]),
        words=4,
        note=(
            "MSE, ×: a hop's distance from the teacher by that of the hop it was made of. Differs "
            "by: a file's largest numeric difference from that hop in PyTorch. MIL evaluated in "
            "PyTorch is a saved Core ML package computed operation by operation, not a run on a "
            "device."
        ),
    )
    hops = len(document.chain)
    return Section(
        anchor="chain",
        title="The chain from teacher to file",
        summary=count_of(hops, "hop") if hops else NOT_RUN,
        tables=(table,) if hops else (),
    )


def _hop(hop: Hop) -> tuple[str | Code, ...]:
    is_file = "/" in hop.name
    return (
        hop.student,
        Code(hop.name) if is_file else hop.name,
        hop.made_of,
        hop.runs_in,
        figure(hop.against_teacher.get("r2")),
        NONE if hop.made_of == TEACHER else ratio_text(hop.mse_ratio),
        number(hop.max_abs) if is_file else NONE,
        figure(hop.against_teacher.get("jitter_ratio")),
        figure(hop.against_truth.get("pbm_at_1pct")),
        pbm_with_false(hop.against_truth),
    )


def parity_section(document: ReportDocument) -> Section:
    """Each file against its torch source, set by set."""
    entries = document.parity
    integers = any(item.max_lsb is not None for entry in entries for item in entry.result.sets)
    rows: list[tuple[Cell, ...]] = [
        (
            Code(entry.file),
            item.name,
            status_cell(item.status),
            item.reason or NONE,
            f"{item.windows:,}",
            number(item.max_abs),
            number(entry.result.max_abs_limit),
            number(item.mse),
            *([NONE if item.max_lsb is None else str(item.max_lsb)] if integers else []),
            item.worst_control or NONE,
            NONE if item.worst_window is None else str(item.worst_window),
        )
        for entry in entries
        for item in entry.result.sets
    ]
    table = Table(
        caption="Does each file say what its source says?",
        headers=(
            *("File", "Windows of", "Status", "Why not", "n", "Largest difference", "Limit"),
            *("Mean squared", *(["Codes apart (LSB)"] if integers else [])),
            *("Worst control", "Worst window"),
        ),
        rows=rows_of(rows),
        words=4,
        note="Codes are the integers of the last quantized tensor, counted in steps of its scale."
        if integers
        else "",
    )
    return Section(
        anchor="parity",
        title="Parity, set by set",
        summary=counted(entry.result.status for entry in entries) or NOT_RUN,
        tables=(table,) if rows else (),
    )


def checks_section(document: ReportDocument) -> Section:
    """Structure, latency, lag and further runtimes of each file."""
    checks = document.checks
    rows = [(Code(c.file), c.what, status_cell(c.status), c.detail) for c in checks]
    table = Table(
        caption="What else was asked of each file",
        headers=("File", "Check", "Status", "Found"),
        rows=rows_of(rows),
        words=4,
    )
    return Section(
        anchor="checks",
        title="Checks of each file",
        summary=counted(check.status for check in checks) or NOT_RUN,
        tables=(table,) if rows else (),
    )
