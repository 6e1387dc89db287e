"""What an engineer unfolds, in one order, for the page and for Markdown."""

from exporters.report.records.document import ReportDocument
from exporters.report.records.tiers import tiers_of
from exporters.report.sections import costs, making, proofs, provenance, quality
from exporters.report.sections.tables import Section


def sections_of(document: ReportDocument) -> list[Section]:
    """All sections of a report."""
    return [
        costs.files_section(document, tiers_of(document)),
        quality.quality_section(document),
        proofs.chain_section(document),
        proofs.gates_section(document),
        proofs.parity_section(document),
        proofs.checks_section(document),
        making.quantization_section(document),
        making.pruning_section(document),
        making.training_section(document),
        provenance.provenance_section(document),
    ]
