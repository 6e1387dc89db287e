"""Two reports side by side: what got better, what worse, and what cannot be compared.

Files are matched by tier and target. A figure is the same if it differs by no more than its noise,
which follows from the clips that both were judged on where the reports tell,
and a regression if it got worse by more than its limit too.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from exporters.report.decide.noise import COMPARED, noise_between
from exporters.report.decide.outcomes import broken, looser, mended, stopped
from exporters.report.figure import Allowance, Context, Subject
from exporters.report.figures import FIGURES, beside
from exporters.report.readings import only_evaluated
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.tiers import tiers_of

TEACHER = "the teacher"
# Shown, never judged.
SHOWN_ONLY = ("ms",)

Verdict = Literal[
    "better",
    "worse",
    "same",
    "now measured",
    "no longer measured",
    "not measured here",
    "not comparable",
    "shown only",
]


@dataclass(frozen=True, kw_only=True)
class Change:
    """One figure of one file in both reports."""

    tier: str
    """Student and precision, or the teacher."""
    target: str | None
    """The format, or None for the teacher."""
    metric: str
    """A name of `FIGURES`."""
    old: float | None
    """None where it was not measured."""
    new: float | None
    verdict: Verdict
    """`not measured here` is what the new report's machine can never measure."""
    limit: str | None
    """What it may get worse by, or None where that is not judged."""
    regression: bool
    """Whether it got worse by more than that, or is not measured any more."""
    beside: str | None = None
    """What must be read with it: of PBM accuracy, the false closures of both reports."""
    noise: str | None = None
    """What it may differ by for being the same, and where that is from: how many clips the two reports
    were paired by, the 95 % intervals of both, a fixed difference, or the one that was given. None
    where it is not judged."""


@dataclass(frozen=True, kw_only=True)
class ReportComparison:
    """What a release changes. Whatever is a regression stands in `regressions` too."""

    old: str
    """Name, date and recipe of the old report."""
    new: str
    """And of the new one."""
    notes: tuple[str, ...]
    """What a reader must know before the figures."""
    changes: tuple[Change, ...]
    """Every figure that either report has."""
    gone: tuple[str, ...]
    """Tiers and files of the old report that the new one lacks."""
    gone_allowed: bool
    """Whether these are no regressions."""
    added: tuple[str, ...]
    """And the other way round."""
    broken: tuple[str, ...]
    """Gates, parity and checks that are broken now and were not before, in words."""
    mended: tuple[str, ...]
    """Those that passed now and did not before."""
    regressions: int
    """How many changes, gone files (unless that is allowed) and broken gates there are."""
    incomparable: int
    """How many figures are shown but not judged, since speech or teacher are others."""


def compare(
    old: ReportDocument,
    new: ReportDocument,
    *,
    noise: Mapping[str, Allowance] | None = None,
    limits: Mapping[str, Allowance] | None = None,
    across: Collection[Context] = (),
    allow_gone: bool = False,
) -> ReportComparison:
    """Compare two reports, figure by figure.

    `noise` and `limits` go over the defaults, by metric; a limit is the noise where none is given.
    `across` names what may differ between the reports with figures judged all the same.
    """
    differs: set[Context] = set()
    if old.teacher.sha256 != new.teacher.sha256:
        differs.add("teacher")
    if old.speech.held_out_key != new.speech.held_out_key:
        differs.add("speech")
    same_clips = old.speech.held_out_key == new.speech.held_out_key
    judge = _Judge(noise or {}, limits or {}, frozenset(differs - set(across)), same_clips)
    before, after = _subjects(old), _subjects(new)
    changes = tuple(_changes(before, after, judge))
    gone, added = _missing(before, after), _missing(after, before)
    worse = tuple(broken(old, new))
    counted = sum(change.regression for change in changes) + len(worse)
    return ReportComparison(
        old=_run(old),
        new=_run(new),
        notes=tuple(_notes(old, new, differs, gone)),
        changes=changes,
        gone=gone,
        gone_allowed=allow_gone,
        added=added,
        broken=worse,
        mended=tuple(mended(old, new)),
        regressions=counted + (0 if allow_gone else len(gone)),
        incomparable=sum(change.verdict == "not comparable" for change in changes),
    )


_File = tuple[str, str | None]


def _subjects(document: ReportDocument) -> dict[_File, Subject]:
    """The teacher and each file as it ships, with what they are measured by."""
    teacher = next((row for row in document.tiers if row.kind == "teacher"), None)
    parity = {entry.file: entry.result for entry in document.parity}
    found: dict[_File, Subject] = {}
    if teacher is not None:
        found[TEACHER, None] = Subject(teacher, teacher)
    for view in tiers_of(document):
        for row in view.files:
            assert row.made is not None
            found[view.name, row.made.target] = Subject(row, teacher, parity.get(row.path or ""))
    return found


@dataclass(frozen=True)
class _Judge:
    noise: Mapping[str, Allowance]
    limits: Mapping[str, Allowance]
    differs: frozenset[Context]
    same_clips: bool

    def change(self, file: _File, metric: str, old: Subject, new: Subject) -> Change | None:
        """None if neither report has the figure."""
        before, after = _read(metric, old), _read(metric, new)
        if before is None and after is None:
            return None
        verdict = self._unjudged(metric, before, after, new.row)
        noise, limit, how = None, None, ""
        if verdict is None:
            assert before is not None
            assert after is not None
            noise, how = self._noise(metric, old.row, new.row)
            limit = self.limits.get(metric, noise)
            verdict = _judged(metric, before, after, noise)
        # The teacher is given: what it weighs and misses is no fault of the release.
        regression = file[0] != TEACHER and (
            verdict == "no longer measured"
            or (verdict == "worse" and limit is not None and _beyond(before, after, limit))
        )
        return Change(
            tier=file[0],
            target=file[1],
            metric=metric,
            old=before,
            new=after,
            verdict=verdict,
            limit=None if limit is None else str(limit),
            regression=regression,
            noise=None if noise is None else f"{noise} ({how})",
            beside=_beside(metric, old, new),
        )

    def _noise(self, metric: str, old: Tier, new: Tier) -> tuple[Allowance, str]:
        if metric in self.noise:
            return self.noise[metric], "given"
        return noise_between(metric, old, new, same_clips=self.same_clips)

    def _unjudged(
        self, metric: str, old: float | None, new: float | None, row: Tier
    ) -> Verdict | None:
        """The verdict where there is nothing to judge, else None."""
        if metric in SHOWN_ONLY:
            return "shown only"
        noise = FIGURES[metric].noise
        if noise is None or self.differs.intersection(noise.depends):
            return "not comparable"
        if old is None:
            return "now measured"
        if new is None:
            here = not (FIGURES[metric].runs and only_evaluated(row))
            return "no longer measured" if here else "not measured here"
        return None


def _judged(metric: str, old: float, new: float, noise: Allowance) -> Verdict:
    if not _beyond(old, new, noise):
        return "same"
    return "better" if (new < old) == (FIGURES[metric].better == "less") else "worse"


def _read(metric: str, subject: Subject) -> float | None:
    figure = FIGURES[metric]
    return figure.known(subject) if figure.asked_of(subject) else None


def _beside(metric: str, old: Subject, new: Subject) -> str | None:
    """``with F 1.2 % → 2.7 %``, and None with figures that stand alone."""
    both = [beside(metric, subject) for subject in (old, new)]
    if not any(both):
        return None
    before, after = (one.removeprefix("with F ") or "not run" for one in both)
    return f"with F {before} → {after}"


def _beyond(old: float | None, new: float | None, allowed: Allowance) -> bool:
    assert old is not None
    assert new is not None
    # 0.65 less 0.645 is a little more than 0.005 in binary.
    rounding = 1e-9 * max(abs(old), abs(new))
    return abs(new - old) > allowed.of(old, new) + rounding


def _changes(
    before: Mapping[_File, Subject], after: Mapping[_File, Subject], judge: _Judge
) -> Iterator[Change]:
    for file, new in after.items():
        if file not in before:
            continue
        of_teacher = [name for name, figure in FIGURES.items() if figure.of_teacher]
        for metric in of_teacher if file[0] == TEACHER else (*COMPARED, *SHOWN_ONLY):
            change = judge.change(file, metric, before[file], new)
            if change is not None:
                yield change


def _missing(these: Collection[_File], there: Collection[_File]) -> tuple[str, ...]:
    """Files of `these` that are not `there`; a tier once, if it is missing whole."""
    tiers = {tier for tier, _ in there}
    return tuple(
        dict.fromkeys(
            tier if tier not in tiers else f"{tier} {target}"
            for tier, target in these
            if tier != TEACHER and (tier, target) not in there
        )
    )


def _run(document: ReportDocument) -> str:
    return f"{document.name}, {document.created[:10]}, recipe {document.recipe_hash[:8]}"


def _notes(
    old: ReportDocument,
    new: ReportDocument,
    differs: Collection[Context],
    gone: Collection[str],
) -> Iterator[str]:
    """What else differs between two reports: of what they stand on, and of what is asked."""
    if "teacher" in differs:
        yield (
            f"Other teacher: {old.teacher.name} ({old.teacher.sha256[:8]}) → {new.teacher.name} "
            f"({new.teacher.sha256[:8]})."
        )
    if "speech" in differs:
        yield (
            f"Other held-out speech: {old.speech.held_out_minutes:g} minutes → "
            f"{new.speech.held_out_minutes:g} minutes."
        )
    if machine := _differences(old.machine, new.machine):
        yield f"Other machine: {machine}. Ratios of time and memory are judged all the same."
    if versions := _differences(old.versions, new.versions):
        yield f"Other tools: {versions}."
    for said, files in looser(old, new, gone).items():
        yield f"A gate asks less: {said} ({', '.join(files)})."
    if names := stopped(old, new):
        yield f"Passed before and not run now: {', '.join(names)}."


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    return "; ".join(
        f"{name.replace('_', ' ')} {old.get(name, 'not told')} → {new.get(name, 'not told')}"
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    )
