"""A teacher around another one: it says of itself what the other says, but for what it changes."""

from compress.teachers import Teacher


class Wrapped:
    """All properties of `teacher`. What wraps it defines `animate`, and what is otherwise."""

    teacher: Teacher

    @property
    def controls(self) -> tuple[str, ...]:
        return self.teacher.controls

    @property
    def rate_hz(self) -> float:
        return self.teacher.rate_hz

    @property
    def offset_s(self) -> float:
        return self.teacher.offset_s

    @property
    def sample_rate_hz(self) -> int:
        return self.teacher.sample_rate_hz

    @property
    def limits(self) -> tuple[float, float] | None:
        return self.teacher.limits

    @property
    def description(self) -> str:
        return self.teacher.description

    @property
    def parameters_count(self) -> int:
        return self.teacher.parameters_count
