"""What changes during a run, as functions of its step: decays of the teacher, temperatures."""

from dataclasses import dataclass

from codec.pretraining.objective.config import ClassesConfig, HypothesesConfig, TeacherConfig


@dataclass(frozen=True)
class Moment:
    """The schedules' values at one step.

    Attributes:
        teacher_temperature: of the teacher's classes.
        assignment_temperature: of the soft assignment to hypotheses; ``None``: the winner takes all.
    """

    teacher_temperature: float
    assignment_temperature: float | None


@dataclass(frozen=True)
class Schedules:
    """Of a run of ``max_steps`` steps; past them, values stay as they are at the end."""

    teacher: TeacherConfig
    classes: ClassesConfig
    hypotheses: HypothesesConfig
    max_steps: int

    def encoder_decay(self, step: int) -> float:
        """Share of the teacher encoder that is kept in step ``step``."""
        return self._decay(self.teacher.encoder_decay, step)

    def head_decay(self, step: int) -> float:
        """The same of the classification head."""
        return self._decay(self.teacher.head_decay, step)

    def at(self, step: int) -> Moment:
        """Temperatures in step ``step``."""
        first, last = self.classes.teacher_temperatures
        warmup = round(self.classes.temperature_share * self.max_steps)
        risen = min(1.0, step / warmup) if warmup else 1.0
        return Moment(first + (last - first) * risen, self._assignment(step))

    def _decay(self, decays: tuple[float, ...], step: int) -> float:
        first, last = ((1 - decay) * self.teacher.reference_steps / self.max_steps for decay in decays)
        moved = first + (last - first) * min(1.0, step / self.max_steps)
        return max(1 - moved, self.teacher.least_decay)

    def _assignment(self, step: int) -> float | None:
        """``T_start * decay^step``, which reaches ``T_end`` where the hard phase begins."""
        soft = self.hypotheses.hard_at * self.max_steps
        if step >= soft:
            return None
        first, last = self.hypotheses.temperatures
        return first * (last / first) ** (step / soft)
