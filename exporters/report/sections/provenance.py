"""Where a report comes from: commits, hashes, versions, the machine."""

from exporters.report.records.document import ReportDocument
from exporters.report.sections.tables import Cell, Code, Section, Table, rows_of
from exporters.report.wording import NOT_RUN, human_count, number


def provenance_section(document: ReportDocument) -> Section:
    """What made this report, on what, from what."""
    teacher, speech = document.teacher, document.speech
    counted = "parameters not counted"
    if teacher.parameters is not None:
        counted = f"{human_count(teacher.parameters)} parameters"
    facts: list[tuple[Cell, ...]] = [
        ("Made", document.created),
        ("Recipe", Code(document.recipe_hash)),
        *((f"Commit of {name}", Code(commit)) for name, commit in document.commits.items()),
        ("Teacher", f"{teacher.name}. {teacher.description}"),
        ("Teacher's hash", Code(teacher.sha256)),
        ("Controls", f"{teacher.controls}; {teacher.driven} move, and figures average over these"),
        ("Teacher's size", f"{counted}; {number(teacher.frame_rate_hz)} frames a second"),
    ]
    if teacher.rig is not None:
        closed = teacher.rig.closed_lips or "not known, so that closures and /p b m/ are not run"
        facts += [("Rig", teacher.rig.name), ("Lips are closed where", closed)]
        facts += [("Note on the rig", note) for note in teacher.rig.notes]
    if teacher.mesh is not None:
        facts.append(("Mesh", _mesh(document)))
    facts += [
        (
            "Speech",
            f"{number(speech.train_minutes)} minutes to learn from, "
            f"{number(speech.held_out_minutes)} held out, {speech.clips} clips"
            + (f"; {', '.join(speech.languages)}" if speech.languages else ""),
        ),
        ("Key of the held-out speech", Code(speech.held_out_key)),
        ("Key of the training speech", Code(speech.train_key)),
        *((f"Left out: {item.clip}", item.reason) for item in speech.skipped),
        ("Licence of the files and of the speech beside them", document.licence),
        *((f"Machine: {name.replace('_', ' ')}", said) for name, said in document.machine.items()),
        *((f"Version of {name}", said) for name, said in document.versions.items()),
    ]
    files = {
        row.path: (
            Code(row.path),
            Code(row.sha256) if row.sha256 else NOT_RUN,
            NOT_RUN if row.bytes is None else f"{row.bytes:,}",
        )
        for row in document.tiers
        if row.path is not None
    }
    headers = ("File", "SHA-256", "Bytes")
    return Section(
        anchor="provenance",
        title="Where it comes from",
        summary=f"{document.created}, recipe {document.recipe_hash[:8]}",
        tables=(
            Table(caption="This run", headers=("Fact", "Is"), rows=rows_of(facts), words=2),
            *([Table("Files", headers, rows_of([*files.values()]), words=2)] if files else []),
        ),
    )


def _mesh(document: ReportDocument) -> str:
    mesh = document.teacher.mesh
    assert mesh is not None
    lips = ""
    if mesh.lip_residual is not None:
        lips = f", the farthest of the lips {number(mesh.lip_residual)} on average"
    return (
        f"{mesh.vertices:,} vertices as {mesh.components} PCA coefficients, which keep "
        f"{100 * mesh.variance:.4g} % of their variance on {number(mesh.fitted_minutes)} minutes of "
        f"training speech; rebuilt from them, vertices on {number(mesh.heldout_minutes)} minutes of "
        f"held-out speech are {number(mesh.residual)} off (RMS){lips}, in the mesh's units: no "
        "student can undo that, and errors of vertices do not count it"
    )
