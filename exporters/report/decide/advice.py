"""For whom a tier is, in one sentence that follows from its figures beside those of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

from exporters.report.records.document import Tier
from exporters.report.records.tiers import Point, TierView, closures_kept, pareto, point_of
from exporters.report.wording import human_size

NOT_JUDGED = "Not all of its figures were taken, so nothing can be advised."
ALONE = "There is nothing else to choose from in this run."


@dataclass(frozen=True)
class Advice:
    """What is said of a tier, and the tier that beats it, if one does."""

    sentence: str
    beaten_by: str | None


def advise(views: Sequence[TierView], teacher: Tier | None) -> dict[str, Advice]:
    """One piece of advice for each tier, by its name.

    A tier that nothing beats in size, waiting and distance from the teacher is for somebody; of
    another it is said which one beats it, and in what.
    """
    points = {view.name: point for view in views if (point := point_of(view)) is not None}
    titles = {view.name: view.title for view in views}
    best = pareto(views)
    lips = _closes_most(views, teacher)
    found = {}
    for view in views:
        own = points.get(view.name)
        if own is None:
            found[view.name] = Advice(NOT_JUDGED, None)
        elif view.name in best:
            found[view.name] = Advice(_choose_if(view.name, own, points, lips == view.name), None)
        else:
            # What beats a tier is itself beaten at most by another that beats it too. Of several
            # the one that is better in most, and then the nearest to the teacher.
            winners = [name for name in points if name in best and points[name].beats(own)]
            winner = max(winners, key=lambda name: points[name].better_in(own))
            found[view.name] = Advice(_beaten(titles[winner], points[winner], own), winner)
    return found


def _choose_if(name: str, own: Point, points: dict[str, Point], closes_most: bool) -> str:
    others = [point for other, point in points.items() if other != name]
    if not others:
        return ALONE
    reasons: list[tuple[str, str]] = []
    if all(own.mse <= point.mse for point in others):
        reasons.append(("likeness comes first", "nothing is nearer to the teacher"))
    if all(own.size < point.size for point in others):
        reasons.append(("every kilobyte counts", "it is the smallest"))
    reasons += _soonest(own, others)
    if closes_most:
        reasons.append(
            (
                "closed lips matter",
                "it closes them most often on p, b and m at F = 1 %",
            )
        )
    if not reasons:
        reasons.append((_budget(own, others), "nothing that fits is nearer to the teacher"))
    wishes, claims = zip(*reasons, strict=True)
    return f"Choose this if {join(wishes)}: {join(claims)}."


def _soonest(own: Point, others: list[Point]) -> list[tuple[str, str]]:
    """Why it is chosen by somebody who cannot wait, if it is."""
    if own.wait_ms > min(point.wait_ms for point in others):
        return []
    if all(point.wait_ms <= own.wait_ms for point in others):
        return []  # all wait alike, so that this tells none from another
    wish = "the face must answer soon"
    equals = [point for point in others if point.wait_ms == own.wait_ms]
    if not equals:
        return [(wish, "nothing waits less")]
    among = f"of those that wait only {own.wait_ms:g} ms it is the"
    if all(own.mse <= point.mse for point in equals):
        return [(wish, f"{among} nearest to the teacher")]
    if all(own.size < point.size for point in equals):
        return [(wish, f"{among} smallest")]
    return []


def _budget(own: Point, others: list[Point]) -> str:
    """What somebody can spend for whom nothing is better: nearer ones are larger or wait longer."""
    nearer = [point for point in others if point.mse < own.mse]
    only_slower = any(point.size <= own.size for point in nearer)
    limits = []
    if not only_slower or any(point.wait_ms <= own.wait_ms for point in nearer):
        limits.append(f"{human_size(own.size)} is what you can spend")
    if only_slower:
        limits.append(f"you can wait no longer than {own.wait_ms:g} ms")
    return join(limits)


def _beaten(title: str, winner: Point, own: Point) -> str:
    size = "smaller" if winner.size < own.size else "no larger"
    near = "nearer to the teacher" if winner.mse < own.mse else "as near to the teacher"
    wait = "waits less" if winner.wait_ms < own.wait_ms else "waits no longer"
    said = "beats it in everything: it" if winner.better_in(own) == 3 else "beats it: it"
    return f"{title} {said} is {size} and {near}, and {wait}."


def _closes_most(views: Sequence[TierView], teacher: Tier | None) -> str | None:
    """The tier that closes its lips most often, if one stands out by a percent as it is shown."""
    if teacher is None:
        return None
    shares = {
        view.name: round(share, 2)
        for view in views
        if (share := closures_kept(view.lead, teacher, "pbm_at_1pct")) is not None
    }
    most = [name for name, share in shares.items() if share == max(shares.values())]
    return most[0] if len(most) == 1 and len(shares) > 1 else None


def join(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
