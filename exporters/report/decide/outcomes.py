"""What passed, failed or did not run in two reports: gates, parity and checks, by name."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from exporters.proof.checks import Status
from exporters.report.figures import excused
from exporters.report.gate_words import apart, in_words, plain
from exporters.report.records.document import ReportDocument


@dataclass(frozen=True)
class Outcome:
    """What came of one of them."""

    status: Status
    words: str
    must_run: bool
    """Whether it is broken also where it did not run."""


def outcomes(document: ReportDocument) -> dict[str, Outcome]:
    """Of a report's gates, of each file's parity, and of the other checks."""
    never = excused(document)
    found = {}
    for gate in document.gates:
        must_run = gate.name not in never
        found[f"gate {gate.name}"] = Outcome(gate.status, in_words(gate), must_run)
    for entry in document.parity:
        reasons = (
            f"{item.name}: {item.reason}" for item in entry.result.sets if item.status != "passed"
        )
        found[f"parity of {entry.file}"] = Outcome(entry.result.status, "; ".join(reasons), True)
    for check in document.checks:
        # Whether a check can run is a matter of the machine, not of the release.
        found[f"{check.what} of {check.file}"] = Outcome(check.status, check.detail, False)
    return found


def broken(old: ReportDocument, new: ReportDocument) -> Iterator[str]:
    """What is broken in the new report and was not in the old, in words; also what is new there."""
    before = outcomes(old)
    for name, now in outcomes(new).items():
        was = before.get(name)
        failed = now.status == "failed" and (was is None or was.status != "failed")
        ran = was is not None and was.status == "passed"
        if failed or (now.status == "not run" and now.must_run and ran):
            then = "new" if was is None else f"{was.status} before"
            yield f"{name} {now.status} ({then}): {now.words}"


def mended(old: ReportDocument, new: ReportDocument) -> Iterator[str]:
    """What passes in the new report and did not in the old, though it was asked."""
    before = outcomes(old)
    for name, now in outcomes(new).items():
        if now.status == "passed" and name in before and before[name].status != "passed":
            yield f"{name} passed ({before[name].status} before)"


def stopped(old: ReportDocument, new: ReportDocument) -> list[str]:
    """Names of what passed before, and does not run now, and need not."""
    now = outcomes(new)
    return [
        name
        for name, was in outcomes(old).items()
        if was.status == "passed"
        and name in now
        and now[name].status == "not run"
        and not now[name].must_run
    ]


def looser(old: ReportDocument, new: ReportDocument, gone: Collection[str]) -> dict[str, list[str]]:
    """Gates that are asked no more, or ask less, with the files that this is true of.

    A change of the recipe that no figure shows. `gone` are tiers and files without any gates now.
    """
    later = {gate.name: gate for gate in new.gates}
    found: dict[str, list[str]] = {}
    for gate in old.gates:
        file, _, what = gate.name.partition(": ")
        now = later.get(gate.name)
        if now is None:
            if file not in gone and file.rpartition(" ")[0] not in gone:
                said = f"{what} {gate.comparison} {plain(gate.limit)} is asked no more"
                found.setdefault(said, []).append(file)
        elif (now.limit > gate.limit) if gate.comparison in ("<=", "<") else now.limit < gate.limit:
            before, after = apart(gate.limit, now.limit)
            found.setdefault(f"{what} {gate.comparison} {before} → {after}", []).append(file)
    return found
