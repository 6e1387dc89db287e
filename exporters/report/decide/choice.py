"""The best tier that keeps some limits, or the one that misses them by least.

A limit is asked of files; a tier fits if one of its files keeps all. What was not measured keeps no
limit, and a file that failed its parity or another check fits nowhere.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from exporters.report.decide.noise import noise_between
from exporters.report.figure import Allowance, Subject
from exporters.report.figures import FIGURES, beside
from exporters.report.gate_words import found_and_asked, in_words
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.tiers import tiers_of

By = Literal["quality", "closures", "size", "speed", "wait"]

# What counts most; then what decides among those that are within its noise of the best. Size comes
# first of these: nobody should carry 500 kB for the third digit of R².
ORDERS: dict[By, tuple[str, ...]] = {
    "quality": ("r2", "bytes", "pbm_at_1pct"),
    "closures": ("pbm_at_1pct", "bytes", "r2"),
    "size": ("bytes", "r2", "pbm_at_1pct"),
    "speed": ("times_faster", "bytes", "r2"),
    "wait": ("future_ms", "bytes", "r2"),
}


@dataclass(frozen=True)
class Limit:
    """What is asked of a figure of `FIGURES`: at most or at least this, as is good for it."""

    figure: str
    value: float


@dataclass(frozen=True, kw_only=True)
class Miss:
    """A limit that a file does not keep."""

    figure: str
    """A name of `FIGURES`; or `parity` or `checks`, where the file itself is broken."""
    value: float | None
    """None where it was not measured."""
    limit: float | None
    """None for a file that is broken."""
    words: str
    """For people: the figure, what was found and asked, and how far off it is."""

    @property
    def overshoot(self) -> float:
        """How far off it is by the limit; infinite where it was not measured."""
        if self.value is None or self.limit is None:
            return math.inf
        return abs(self.value - self.limit) / (abs(self.limit) or 1.0)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A file, and the limits that it misses."""

    tier: str
    target: str
    path: str | None
    """Relative to the folder of the run."""
    figures: dict[str, float | None]
    """The figures that people ask for first, by the names of `FIGURES`."""
    misses: tuple[Miss, ...]
    broken: tuple[str, ...]
    """Gates of the recipe that it broke, whatever is asked now."""

    @property
    def distance(self) -> tuple[int, float]:
        """How near it is to fitting: figures not measured, then the sum of all overshoots."""
        known = [one for miss in self.misses if math.isfinite(one := miss.overshoot)]
        return len(self.misses) - len(known), sum(known)


@dataclass(frozen=True, kw_only=True)
class TierChoice:
    """A tier by its files: those that fit, best first, then those that do not, nearest first."""

    tier: str
    fitting: tuple[Candidate, ...]
    missing: tuple[Candidate, ...]

    @property
    def lead(self) -> Candidate:
        """The file that the tier is judged by."""
        return (*self.fitting, *self.missing)[0]


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All tiers that were asked about."""

    by: By
    fitting: tuple[TierChoice, ...]
    """Best first."""
    missing: tuple[TierChoice, ...]
    """Nearest first."""
    alike: dict[str, str]
    """Tiers that fit and have the first one's figure but for the noise: by name, that noise in words."""


def rank(
    document: ReportDocument,
    limits: Collection[Limit],
    *,
    by: By = "quality",
    targets: Collection[str] = (),
    precisions: Collection[str] = (),
) -> Ranking:
    """Rank the tiers of a report, of all targets and precisions or of those named.

    Those that fit are ordered by what `by` names; tiers whose figures are within its noise of the
    best are ordered by size, and last by name. A figure that was not measured comes after all that
    were. Those that do not fit are ordered by the figures not measured, then by the sum of what
    they miss each limit by, as a share of that limit, then by size. Raises ValueError, which says
    what there is, where no file is of these targets and precisions.
    """
    teacher = next((row for row in document.tiers if row.kind == "teacher"), None)
    views = tiers_of(document)
    rows = {
        (row.made.tier, row.made.target): row for view in views for row in view.files if row.made
    }
    tiers = []
    for view in views:
        if precisions and view.made.precision not in precisions:
            continue
        files = [
            _candidate(document, row, teacher, limits)
            for row in view.files
            if row.made is not None and (not targets or row.made.target in targets)
        ]
        if files:
            fitting = _best_first([file for file in files if not file.misses], by, rows)
            missing = sorted((file for file in files if file.misses), key=_nearness)
            tiers.append(TierChoice(tier=view.name, fitting=tuple(fitting), missing=tuple(missing)))
    if not tiers:
        there = ", ".join(
            f"{view.name} ({', '.join(row.made.target for row in view.files if row.made)})"
            for view in views
        )
        raise ValueError(there)
    leads = {tier.lead.tier: tier for tier in tiers if tier.fitting}
    order = _best_first([tier.lead for tier in leads.values()], by, rows)
    name = ORDERS[by][0]
    alike = {}
    for lead in order[1:]:
        own, other = order[0].figures[name], lead.figures[name]
        noise = _noise(name, lead, order[0], rows)
        if own is not None and other is not None and abs(own - other) <= noise.of(own, other):
            alike[lead.tier] = str(noise) if noise.of(own, other) else ""
    return Ranking(
        by=by,
        alike=alike,
        fitting=tuple(leads[lead.tier] for lead in order),
        missing=tuple(
            sorted(
                (tier for tier in tiers if not tier.fitting), key=lambda tier: _nearness(tier.lead)
            )
        ),
    )


def _candidate(
    document: ReportDocument, row: Tier, teacher: Tier | None, limits: Collection[Limit]
) -> Candidate:
    assert row.made is not None
    subject, misses = Subject(row, teacher), list(_defects(document, row.path))
    for limit in limits:
        figure = FIGURES[limit.figure]
        value = figure.known(subject)
        kept = value is not None and (
            value <= limit.value if figure.better == "less" else value >= limit.value
        )
        if not kept:
            words = f"{figure.name}: {found_and_asked(value, limit.value, figure.limit)}"
            if with_it := beside(limit.figure, subject):
                words += f", {with_it}"
            misses.append(Miss(figure=limit.figure, value=value, limit=limit.value, words=words))
    gates = f"{row.made.tier} {row.made.target}: "
    return Candidate(
        tier=row.made.tier,
        target=row.made.target,
        path=row.path,
        figures={
            name: figure.known(subject) for name, figure in FIGURES.items() if figure.headline
        },
        misses=tuple(misses),
        broken=tuple(
            f"{gate.name.removeprefix(gates)}: {in_words(gate)}"
            for gate in document.gates
            if gate.status == "failed" and gate.name.startswith(gates)
        ),
    )


def _defects(document: ReportDocument, path: str | None) -> Iterator[Miss]:
    """A file that is not its source's equal is no choice, however small it is."""
    for entry in document.parity:
        if entry.file == path and entry.result.status == "failed":
            yield Miss(figure="parity", value=None, limit=None, words="its parity failed")
    for check in document.checks:
        if check.file == path and check.status == "failed":
            words = f"{check.what} failed: {check.detail}"
            yield Miss(figure="checks", value=None, limit=None, words=words)


def _nearness(candidate: Candidate) -> tuple[int, float, float, str]:
    size = candidate.figures["bytes"]
    return *candidate.distance, math.inf if size is None else size, candidate.tier


_Rows = Mapping[tuple[str, str], Tier]


def _best_first(candidates: Sequence[Candidate], by: By, rows: _Rows) -> list[Candidate]:
    """One after the other the best of those that are left."""
    left, found = list(candidates), []
    while left:
        best = _best(left, by, rows)
        found.append(best)
        left.remove(best)
    return found


def _best(candidates: Sequence[Candidate], by: By, rows: _Rows) -> Candidate:
    """The best by the first figure; of those within its noise the best by the next, and so on."""
    left = list(candidates)
    for name in ORDERS[by]:
        known = [(value, one) for one in left if (value := one.figures[name]) is not None]
        if not known:
            continue
        pick = min if FIGURES[name].better == "less" else max
        top, best = pick(known, key=lambda pair: pair[0])
        # Only what is asked for first is taken with its noise; the rest breaks ties.
        noisy = name == ORDERS[by][0]
        left = [
            one
            for value, one in known
            if abs(value - top) <= (_noise(name, one, best, rows).of(value, top) if noisy else 0.0)
        ]
    return min(left, key=lambda one: (one.tier, one.target))


def _noise(name: str, one: Candidate, other: Candidate, rows: _Rows) -> Allowance:
    pair = rows[one.tier, one.target], rows[other.tier, other.target]
    return noise_between(name, *pair, same_clips=True, only_paired=True)[0]
