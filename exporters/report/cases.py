"""Everything in a report that passed, failed or did not run, as one list for CI."""

from collections.abc import Iterator

from exporters.proof.checks import Check
from exporters.report.gate_words import in_words
from exporters.report.records.document import ReportDocument


def cases(document: ReportDocument) -> Iterator[Check]:
    """Parity set by set, then the other checks of each file, then the recipe's gates."""
    for entry in document.parity:
        for item in entry.result.sets:
            apart = "not told" if item.max_abs is None else f"{item.max_abs:.3g}"
            yield Check(
                file=entry.file,
                what=f"parity on {item.name}, {entry.result.runtime['runtime']}",
                status=item.status,
                detail=item.reason
                or f"at most {apart} from PyTorch in {item.windows} windows, "
                f"{entry.result.max_abs_limit:.3g} may be",
            )
    yield from document.checks
    for gate in document.gates:
        yield Check(
            file=document.name,
            what=f"gate, {gate.name}",
            status=gate.status,
            detail=in_words(gate),
        )
