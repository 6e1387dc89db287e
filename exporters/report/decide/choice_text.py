"""A choice among tiers as lines for a terminal: what, its files, why, and what came next."""

from collections.abc import Iterator

from exporters.report.decide.choice import ORDERS, Candidate, Ranking, TierChoice
from exporters.report.figures import FIGURES
from exporters.report.gate_words import apart, plain
from exporters.report.wording import human_size

# As many of those that were not chosen are named.
_NAMED = 3


def to_lines(ranking: Ranking) -> list[str]:
    """The tier that fits best; or, where none does, the nearest and all that it misses."""
    return list(_chosen(ranking) if ranking.fitting else _nearest(ranking))


def miss_in_words(ranking: Ranking) -> str:
    """One sentence on the nearest tier, where none fits."""
    lead = ranking.missing[0].lead
    missed = "; ".join(miss.words for miss in lead.misses)
    return f"No tier keeps all limits. The nearest is {lead.tier} for {lead.target}: {missed}."


def _chosen(ranking: Ranking) -> Iterator[str]:
    chosen, *others = ranking.fitting
    yield chosen.tier
    width = max(len(str(file.path)) for file in chosen.fitting)
    for file in chosen.fitting:
        yield f"  {file.path!s:<{width}}  {_headline(file)}"
        for words in file.broken:
            yield f"    its gate is broken: {words}"
    for file in chosen.missing:
        yield f"  not for {file.target}: {'; '.join(miss.words for miss in file.misses)}"
    yield f"why: {_why(ranking)}"
    if others:
        lead = others[0].lead
        yield f"runner-up: {lead.tier} for {lead.target}: {_headline(lead)}"
        if rest := others[1:]:
            yield f"also fit: {_names(rest)}"
    if ranking.missing:
        yield f"do not fit: {_names(ranking.missing)}"


def _nearest(ranking: Ranking) -> Iterator[str]:
    nearest, *others = ranking.missing
    lead = nearest.lead
    yield f"none fits; nearest: {lead.tier} for {lead.target}"
    yield f"  {lead.path}  {_headline(lead)}"
    for miss in lead.misses:
        yield f"  misses {miss.words}"
    for words in lead.broken:
        yield f"  its gate is broken: {words}"
    if others:
        yield f"farther: {_names(others)}"


def _why(ranking: Ranking) -> str:
    """What was asked for, what the chosen has of it, and whom it beats by what."""
    chosen, *others = (tier.lead for tier in ranking.fitting)
    name = ORDERS[ranking.by][0]
    figure, own = FIGURES[name], chosen.figures[name]
    if not others:
        return "the only tier that fits"
    if own is None:
        return f"{figure.name} is not measured of any of {len(others) + 1} that fit; the smallest"
    tied, beaten = [], []
    for other in others:
        value = other.figures[name]
        if other.tier in ranking.alike:
            tied.append(f"{other.tier} ({plain(value or 0.0)})")
        else:
            said = "not run" if value is None else apart(value, own)[0]
            beaten.append(f"{other.tier} ({said})")
    said = f"best of {len(others) + 1} that fit by {figure.name}, {plain(own)}"
    if beaten:
        said += f"; beats {_few(beaten)}"
    if tied:
        noises = sorted({noise for noise in ranking.alike.values() if noise})
        alike = f"within {' or '.join(noises)}" if noises else "as good"
        said += f"; {_few(tied)}: {alike}, so that {FIGURES[ORDERS[ranking.by][1]].name} decided"
    return said


def _names(tiers: list[TierChoice] | tuple[TierChoice, ...]) -> str:
    return _few([tier.tier for tier in tiers])


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _headline(file: Candidate) -> str:
    """``187 kB, 150 kB to download, 0.2 ms, waits 80 ms, R² 0.65, PBM 74 % at F = 1 %, …``."""
    figures = file.figures

    def said(name: str, before: str, after: str, scale: float = 1.0) -> str:
        value = figures[name]
        return f"{before}{'not run' if value is None else plain(scale * value, 3) + after}"

    sizes = [
        None if (value := figures[name]) is None else round(value)
        for name in ("bytes", "download_bytes")
    ]
    return ", ".join(
        (
            human_size(sizes[0]),
            f"{human_size(sizes[1])} to download",
            said("ms", "", " ms") if figures["ms"] is not None else "time not run",
            said("future_ms", "waits ", " ms"),
            said("r2", "R² ", ""),
            said("pbm_at_1pct", "PBM ", " % at F = 1 %", 100)
            if figures["pbm_at_1pct"] is not None
            else "PBM at F = 1 % not run",
            said("pbm", "PBM ", " %", 100) + said("false_closures", " with F ", " %", 100),
        )
    )
