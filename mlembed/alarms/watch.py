"""Watches a training: what its steps and evaluations show, which alarms that raises, and whether it should end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mlembed.alarms import clipping, loss
from mlembed.alarms.alarm import KINDS, Alarm, Signs
from mlembed.alarms.answers import answer_alarms, knows_answers
from mlembed.alarms.clipping import clipping_alarm
from mlembed.alarms.loss import loss_alarm
from mlembed.alarms.metric import FALLING, metric_alarms
from mlembed.alarms.vectors import vector_alarms
from mlembed.errors import ConfigError, TrainingFailed, agreed

log = logging.getLogger("mlembed")

# An alarm is told again when it has become so many times as severe.
MUCH_MORE_SEVERE = 2.0
# Kinds that are looked for at steps; all others are looked for at evaluations.
AT_STEPS = ("spike", "clipped")
DOCUMENT = "docs/alarms.md"


@dataclass
class Raised:
    """An alarm that was raised.

    Args:
        since: the step at which it was seen first.
        last: the step at which it was seen last.
        seen: what was seen when it was told last.
        told: how severe it was then.
        ends: whether the student is of no use.
        is_on: whether the last look still showed it.
    """

    since: int
    last: int
    seen: str
    told: float
    ends: bool
    is_on: bool


class Watch:
    """What a training has shown so far.

    Args:
        causes: the likely causes of an alarm of a kind.
        metric: that decides the best checkpoint.
        max_grad_norm: what gradients are scaled down to; None: never.
        stops: whether a student that is of no use ends the run.
    """

    def __init__(
        self,
        *,
        causes: Callable[[str], Sequence[str]] = lambda kind: (),
        metric: str,
        max_grad_norm: float | None = None,
        stops: bool = False,
    ) -> None:
        self.causes, self.metric, self.max_grad_norm, self.stops = causes, metric, max_grad_norm, stops
        self.losses: list[float] = []
        self.norms: list[float] = []
        self.values: list[float] = []
        self.first_value: float | None = None
        self.before: dict[str, Signs] = {}
        self.last: dict[str, Signs] = {}
        self.raised: dict[str, Raised] = {}

    def step(self, step: int, *, loss_value: float, norm: float) -> None:
        """Look at a step that was done.

        Args:
            step: its number.
            loss_value: of all processes.
            norm: of the gradient, before clipping.
        """
        self.losses = [*self.losses, loss_value][-loss.WINDOW - loss.RECENT :]
        self.norms = [*self.norms, norm][-clipping.WINDOW :]
        found = [loss_alarm(self.losses), clipping_alarm(self.norms, limit=self.max_grad_norm)]
        self._raise(step, [alarm for alarm in found if alarm is not None], looked_for=AT_STEPS)

    def evaluation(self, step: int, *, progress: float, value: float, signs: dict[str, Signs]) -> None:
        """Look at an evaluation.

        Args:
            step: steps done.
            progress: their share of all.
            value: of the metric.
            signs: what it shows of `vectors` and of `answers`.
        """
        self.last = signs
        if step == 0:
            answers = signs.get("answers")
            # To be worse than a new head, which answers at random, is nothing to speak of.
            self.first_value = value if not answers or knows_answers(answers) else None
            self.before, self.values = signs, []
        else:
            self.values = [*self.values, value][-FALLING - 1 :]
        found = list(metric_alarms(self.values, first=self.first_value, metric=self.metric, progress=progress))
        if signs.get("vectors"):
            found += vector_alarms(signs["vectors"], self.before.get("vectors", {}), progress=progress)
        if signs.get("answers"):
            found += answer_alarms(signs["answers"], progress=progress)
        # What was found before training is not looked for again.
        self._raise(step, found, looked_for=[kind for kind in KINDS if kind not in (*AT_STEPS, "teacher")])

    def _raise(self, step: int, alarms: Iterable[Alarm], *, looked_for: Iterable[str]) -> None:
        found = {alarm.kind: alarm for alarm in alarms}
        for kind in looked_for:
            known = self.raised.get(kind)
            if known is not None and known.is_on and kind not in found:
                known.is_on = False
                log.info("alarm over: %s (steps %d to %d)", KINDS[kind], known.since, known.last)
        for kind, alarm in found.items():
            known = self.raised.get(kind)
            if known is not None and alarm.severity < MUCH_MORE_SEVERE * known.told and alarm.ends <= known.ends:
                known.last, known.ends, known.is_on = step, alarm.ends, True
                continue
            since = step if known is None else known.since
            self.raised[kind] = Raised(since, step, alarm.seen, alarm.severity, ends=alarm.ends, is_on=True)
            self._tell(kind, step)

    def _tell(self, kind: str, step: int) -> None:
        known = self.raised[kind]
        since = f", since step {known.since}" if known.since < step else ""
        causes = "".join(f"\n  - {cause}" for cause in self.causes(kind))
        log.warning(
            "ALARM at step %d%s: %s: %s.%s",
            step,
            since,
            KINDS[kind],
            known.seen,
            f"\nLikely causes, the likeliest first (more in {DOCUMENT}):{causes}" if causes else "",
        )

    def check(self, *, best_step: int | None) -> None:
        """End a run whose student is of no use, where that is asked for.

        Args:
            best_step: the step of the best checkpoint.

        Raises:
            TrainingFailed: it names the alarms.
        """
        ending = [kind for kind, one in self.raised.items() if one.ends and one.is_on]
        if not self.stops or not ending:
            return
        seen = "; ".join(f"{KINDS[kind]} ({self.raised[kind].seen})" for kind in ending)
        best = "" if best_step is None else f" The best student so far is in checkpoints/step-{best_step}/student."
        raise agreed(
            TrainingFailed(
                f"trainer.on_collapse=stop: {seen}. The likely causes are in the log.{best} "
                "To go on all the same, resume with trainer.on_collapse=warn."
            )
        )

    def summary(self) -> dict[str, Any]:
        """What the report says: the alarms by kind, and what the last evaluation showed."""
        alarms = {
            kind: {"title": KINDS[kind], "since": one.since, "last": one.last, "seen": one.seen, "is_on": one.is_on}
            for kind, one in self.raised.items()
        }
        return {"alarms": alarms, **self.last}

    def state_dict(self) -> dict[str, Any]:
        """All that later alarms depend on, as JSON values."""
        kept = ("losses", "norms", "values", "first_value", "before", "last")
        return {
            **{name: getattr(self, name) for name in kept},
            "raised": {kind: asdict(one) for kind, one in self.raised.items()},
        }

    def load_state_dict(self, stored: Any) -> None:
        """Go on from a state of `state_dict`.

        Raises:
            ConfigError: when it is not such a state.
        """
        try:
            self.losses, self.norms, self.values = (
                [float(one) for one in stored[name]] for name in ("losses", "norms", "values")
            )
            self.first_value = None if stored["first_value"] is None else float(stored["first_value"])
            self.before, self.last = dict(stored["before"]), dict(stored["last"])
            self.raised = {kind: _read(one) for kind, one in stored["raised"].items() if kind in KINDS}
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"the checkpoint's alarms cannot be read: {error!r}") from error


def _read(stored: dict[str, Any]) -> Raised:
    since, last, seen, told = int(stored["since"]), int(stored["last"]), str(stored["seen"]), float(stored["told"])
    return Raised(since, last, seen, told, ends=bool(stored["ends"]), is_on=bool(stored["is_on"]))
