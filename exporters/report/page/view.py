"""What the page's scripts are given: tiers as points, the rig, regions, training. All computed here."""

from collections.abc import Sequence
from typing import Any

from exporters.report.decide.advice import advise
from exporters.report.page.cards import first_chosen, known_teacher, wait_of
from exporters.report.records.clips import Clips
from exporters.report.records.document import ReportDocument, Tier
from exporters.report.records.tiers import TierView, against_teacher, against_truth
from exporters.report.wording import human_size, number, percent

# Metric, what people call it, in short, and whether lower is better; in the order of the choice.
_QUALITIES: tuple[tuple[str, str, str, bool], ...] = (
    ("r2", "closeness to the teacher (R²)", "R²", False),
    ("pbm_at_1pct", "lips closed on p, b and m at F = 1 % (%)", "closed", False),
    ("pbm", "lips closed on p, b and m, with F (%)", "closed, F", False),
    ("closed_outside", "lips closed on other speech, F (%)", "F", True),
    ("phone_f1", "closures where the phones ask for them (F1, %)", "F1", False),
    ("closure_f1", "lips close when the teacher's do (F1, %)", "F1", False),
    ("lip_vertex_error", "farthest lip vertex off (mesh units)", "off", True),
    ("vertex_error", "vertices off (RMS, mesh units)", "off", True),
)
_OF_PHONES = frozenset({"pbm_at_1pct", "pbm", "closed_outside", "phone_f1"})
_SHARES = _OF_PHONES | {"closure_f1"}
# Without these a face is no face: it would open its jaw and nothing else.
_FACE = frozenset({"jawOpen", "mouthPucker", "mouthFunnel", "mouthClose"})


def view_of(
    document: ReportDocument, views: Sequence[TierView], clips: Clips | None
) -> dict[str, Any]:
    """Everything but the clips' curves and sounds, as JSON holds it."""
    teacher = known_teacher(document)
    beaten = {name for name, said in advise(views, teacher).items() if said.beaten_by}
    regions = list(dict.fromkeys(name for view in views for name in view.lead.by_region))
    return {
        "tiers": [_tier(view, view.name in beaten, regions) for view in views],
        "chosen": first_chosen(views),
        "teacher": None if teacher is None else _reference(teacher),
        "baselines": [_reference(row) for row in document.tiers if row.kind == "baseline"],
        "qualities": [
            {"key": key, "label": label, "short": short, "lower": lower}
            for key, label, short, lower in _QUALITIES
            if any(_known(view.lead, key) is not None for view in views)
        ],
        "waits": sorted(
            {w for view in views if (w := view.lead.algorithmic_latency_ms) is not None}
        ),
        "regions": regions,
        "rig": _rig(document, clips),
        "training": [
            {
                "student": training.student,
                "steps": [point.step for point in training.curve],
                "losses": {
                    name: [point.losses.get(name) for point in training.curve]
                    for name in training.curve[0].losses
                },
                "r2": [point.validation_r2 for point in training.curve],
            }
            for training in document.training
        ],
    }


def _tier(view: TierView, beaten: bool, regions: Sequence[str]) -> dict[str, Any]:
    row = view.lead
    return {
        "name": view.name,
        "title": view.title,
        "bytes": row.bytes,
        "size": human_size(row.bytes),
        "wait": row.algorithmic_latency_ms,
        "waits": wait_of(row),
        "beaten": beaten,
        "figures": _figures(row),
        "regions": [_root_mean_square(row, region) for region in regions],
    }


def _reference(row: Tier) -> dict[str, Any]:
    return {
        "name": row.name,
        "bytes": row.bytes,
        "size": human_size(row.bytes),
        "figures": _figures(row),
    }


def _figures(row: Tier) -> dict[str, dict[str, Any]]:
    found = {}
    for key, *_ in _QUALITIES:
        value = _known(row, key)
        shown = number(value)
        if value is not None and key == "r2":
            shown = f"{round(value, 2) + 0.0:.2f}"  # no minus before 0.00
        elif value is not None and key in _SHARES:
            shown = f"{value:.1f} %"
            if key == "pbm":
                shown += f", F {percent(against_truth(row, 'closed_outside'))}"
        found[key] = {"value": value, "text": shown}
    return found


def _known(row: Tier, key: str) -> float | None:
    """A metric as it is drawn; /p b m/ by the truth, all others by the teacher's curves."""
    value = against_truth(row, key) if key in _OF_PHONES else against_teacher(row, key)
    return None if value is None else 100 * value if key in _SHARES else value


def _root_mean_square(row: Tier, region: str) -> float | None:
    mse = row.by_region.get(region, {}).get("mse")
    return None if mse is None else mse**0.5


def _rig(document: ReportDocument, clips: Clips | None) -> dict[str, Any]:
    """How a face is drawn: by ARKit's names, by the lips' aperture alone, or not at all."""
    facts = document.teacher.rig
    shown = clips.clips if clips else ()
    controls = set(shown[0].teacher) if shown else set()
    weights = {
        name: weight
        for name, weight in (facts.aperture if facts else {}).items()
        if name in controls
    }
    kind = "arkit" if len(controls & _FACE) > 2 else "aperture" if weights else "bars"
    return {
        "kind": kind,
        "name": facts.name if facts else "unknown",
        "aperture": weights,
        "closed": facts.closed_below if facts else None,
        "widest": _widest(weights, clips),
        "labels": dict(facts.labels) if facts else {},
        "ranges": _ranges(clips),
    }


def _widest(weights: dict[str, float], clips: Clips | None) -> float:
    """The largest aperture of the teacher in all clips; 1 where it has none."""
    apertures = [
        sum(weight * clip.teacher[name][frame] for name, weight in weights.items())
        for clip in (clips.clips if clips else ())
        for frame in range(len(clip.times_s))
        if all(name in clip.teacher for name in weights)
    ]
    largest = max(apertures, default=0.0)
    return largest if largest > 0 else 1.0


def _ranges(clips: Clips | None) -> dict[str, list[float]]:
    """Control to the least and the greatest value that the teacher gives it; 0 is among them."""
    found: dict[str, list[float]] = {}
    for clip in clips.clips if clips else ():
        for name, values in clip.teacher.items():
            seen = [0.0, *values, *found.get(name, [])]
            found[name] = [min(seen), max(seen)]
    return found
