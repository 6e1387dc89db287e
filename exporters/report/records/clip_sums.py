"""What a row's figures are summed of, clip by clip: what two reports of the same speech are paired by."""

from dataclasses import dataclass, fields

from exporters import records

# A row has no more parts than this: of more clips, neighbours are added up.
MOST_PARTS = 200


@records.strict
@dataclass(frozen=True, kw_only=True)
class ClipSums:
    """Sums over each part of the held-out speech, in its order; a part is a clip, or some neighbours.

    Figures are ratios of such sums: MSE is Σ squared_error / Σ values, R² is
    1 − Σ squared_error / Σ spread, jitter is Σ shaking / Σ teacher_shaking, PBM accuracy is
    Σ sealed / Σ sounds, F is Σ closed_outside / Σ outside. Columns of what was not measured are empty.
    """

    values: tuple[float, ...] = ()
    """Frames times controls."""
    squared_error: tuple[float, ...] = ()
    """Squared differences from the teacher's curves."""
    spread: tuple[float, ...] = ()
    """Squared differences of the teacher's curves from their mean over all held-out speech."""
    shaking: tuple[float, ...] = ()
    """Absolute third differences of the curves."""
    teacher_shaking: tuple[float, ...] = ()
    """Those of the teacher's curves."""
    guesses: tuple[float, ...] = ()
    """Closures of the lips."""
    right: tuple[float, ...] = ()
    """Those of them at which the teacher's lips close too."""
    events: tuple[float, ...] = ()
    """Closures of the teacher's lips."""
    recalled: tuple[float, ...] = ()
    """Those of them that have a closure of their own here."""
    sounds: tuple[float, ...] = ()
    """/p b m/ that were said."""
    sealed: tuple[float, ...] = ()
    """Those of them on which the lips close."""
    sealed_at_1pct: tuple[float, ...] = ()
    """Those of them on which they close with the limit moved to where F of all speech is 1 %."""
    outside: tuple[float, ...] = ()
    """Speech frames outside of /p b m/."""
    closed_outside: tuple[float, ...] = ()
    """Those of them in which the lips are closed."""
    phone_guesses: tuple[float, ...] = ()
    """Closures of the lips that touch speech."""
    phone_right: tuple[float, ...] = ()
    """Those of them on /p b m/."""
    phone_events: tuple[float, ...] = ()
    """Closures that the phones ask for."""
    phone_recalled: tuple[float, ...] = ()
    """Those of them that have a closure of their own here."""

    def __post_init__(self) -> None:
        lengths = {n for field in fields(self) if (n := len(getattr(self, field.name)))}
        if len(lengths) > 1:
            raise ValueError(f"sums of the same clips have {sorted(lengths)} parts")

    @property
    def parts(self) -> int:
        """How many parts the speech has; 0 where nothing was measured."""
        return max(len(getattr(self, field.name)) for field in fields(self))
