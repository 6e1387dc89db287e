"""A report's tiers: what somebody picks, where the document has a row for each file.

The files of one tier are the same student at the same precision. What they lose is the same to
rounding, so that a tier is judged by its first file; what they weigh and take is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from exporters.report.records.chain import Proportion
from exporters.report.records.document import Cost, Made, ReportDocument, Tier
from exporters.report.records.kinds import KindFigures


@dataclass(frozen=True)
class TierView:
    """One student at one precision: its files' rows as they ship, in the document's order."""

    name: str
    files: tuple[Tier, ...]

    @property
    def lead(self) -> Tier:
        """The row by which the tier is judged."""
        return self.files[0]

    @property
    def made(self) -> Made:
        """Of the lead; student and precision are those of all."""
        assert self.lead.made is not None
        return self.lead.made

    @property
    def title(self) -> str:
        """``tiny, int8``: what it is called, with its precision said once."""
        student, precision = self.made.student, self.made.precision
        return student if student.endswith(f"-{precision}") else f"{student}, {precision}"

    @property
    def cost(self) -> Cost | None:
        """What the file takes that takes the least beside the teacher, or None if none was timed."""
        costs = [row.cost for row in self.files if row.cost is not None]
        return max(costs, key=lambda cost: cost.faster, default=None)

    def of(self, target: str) -> Tier | None:
        """The row of the file for a target, if there is one."""
        return next((row for row in self.files if row.made and row.made.target == target), None)


def tiers_of(document: ReportDocument) -> tuple[TierView, ...]:
    """All tiers, nearest to the teacher first; those that were not judged last.

    Where a file is judged with and without smoothing, its first row counts, with it: as it ships.
    """
    files: dict[str, dict[str, Tier]] = {}
    for row in document.tiers:
        if row.made is not None:
            files.setdefault(row.made.tier, {}).setdefault(row.made.target, row)
    views = [TierView(name, tuple(rows.values())) for name, rows in files.items()]
    return tuple(sorted(views, key=_distance))


def teacher_of(document: ReportDocument) -> Tier:
    """The teacher's row. Raises ValueError for a report without one."""
    for row in document.tiers:
        if row.kind == "teacher":
            return row
    raise ValueError(f"the report {document.name!r} has no row for its teacher")


def against_teacher(row: Tier | KindFigures, metric: str) -> float | None:
    """A metric of the row against the teacher's curves; None where it was not measured.

    Never one against known truth, which has the same name for some: they are two questions.
    """
    return _plain(row.against_teacher.get(metric))


def against_truth(row: Tier | KindFigures, metric: str) -> float | None:
    """A metric of the row against known truth, a share without its interval; or None."""
    return _plain(row.against_truth.get(metric))


def _plain(measured: Proportion | float | None) -> float | None:
    return measured.value if isinstance(measured, Proportion) else measured


def closures_kept(row: Tier, teacher: Tier, metric: str = "pbm") -> float | None:
    """Lips closed on /p b m/ by the share in which the teacher's are; None where not measured."""
    own, best = against_truth(row, metric), against_truth(teacher, metric)
    return None if own is None or not best else own / best


@dataclass(frozen=True)
class Point:
    """What a tier is judged by beside others: its first file's bytes, what it waits for, its MSE.

    Lower is better in all three.
    """

    size: int
    wait_ms: float
    mse: float

    def beats(self, other: "Point") -> bool:
        """Whether it is as good in all three, and better in one."""
        return self != other and all(own <= found for own, found in self._beside(other))

    def better_in(self, other: "Point") -> int:
        """In how many of the three it is better."""
        return sum(own < found for own, found in self._beside(other))

    def _beside(self, other: "Point") -> list[tuple[float, float]]:
        return [(self.size, other.size), (self.wait_ms, other.wait_ms), (self.mse, other.mse)]


def point_of(view: TierView) -> Point | None:
    """None where one of the three is not known."""
    row = view.lead
    mse = against_teacher(row, "mse")
    if row.bytes is None or row.algorithmic_latency_ms is None or mse is None:
        return None
    return Point(row.bytes, row.algorithmic_latency_ms, mse)


def pareto(views: Iterable[TierView]) -> frozenset[str]:
    """Names of the tiers that no other beats: in bytes, in what a pose waits for, and in MSE.

    One beats another if it is as good in all three and better in one. A tier of which one of them
    is not known neither beats nor is beaten, and is not among them.
    """
    known = {view.name: point for view in views if (point := point_of(view)) is not None}
    return frozenset(
        name
        for name, point in known.items()
        if not any(other.beats(point) for other in known.values())
    )


def _distance(view: TierView) -> tuple[bool, float]:
    mse = against_teacher(view.lead, "mse")
    return mse is None, mse or 0.0
