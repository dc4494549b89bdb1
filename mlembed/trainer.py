"""The training loop; it knows no configuration, no Hydra and no file layout."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from mlembed.alarms.watch import Watch
from mlembed.compute import Compute, Processes
from mlembed.data.ahead import Ahead
from mlembed.data.steps import Plan, Share, Step, planned_steps, rows_to_blame, steps_in
from mlembed.errors import ConfigError, Interrupted, ResourceError, TrainingFailed, agreed
from mlembed.faults import fault_point
from mlembed.gradients import Backward
from mlembed.memory import MEMORY_ERRORS, SMALLER, is_out_of_memory
from mlembed.models.text_model import TextModel
from mlembed.optimization import clip_gradients, schedule_factor, set_learning_rate
from mlembed.report.metrics import is_better
from mlembed.report.report import Report
from mlembed.signals import StopRequest
from mlembed.tasks.task import Task
from mlembed.trainer_state import Recorder, TrainerSettings, TrainerState, read_trainer_state

log = logging.getLogger("mlembed")

# A bad batch is skipped; this many in a row are not the batches' fault.
MAX_SKIPPED_IN_A_ROW = 3


class Trainer:
    """Distils a teacher into a student.

    Args:
        student: the model that learns.
        task: what it learns, and what else learns beside it.
        plans: term of the loss -> its batches; the first one's epochs are the run's.
        optimizer: over the parameters of all that learns.
        settings: how long, and when to look.
        evaluate: measures the student on the validation set; `signs` of the report's metadata are watched.
        watch: raises alarms.
        compute: device and precision.
        processes: those that train together.
        stop: the signals.
    """

    def __init__(
        self,
        student: TextModel,
        *,
        task: Task,
        plans: Mapping[str, Plan],
        optimizer: Optimizer,
        settings: TrainerSettings,
        evaluate: Callable[[], Report],
        watch: Watch,
        compute: Compute,
        processes: Processes,
        stop: StopRequest,
    ) -> None:
        self.student = student
        self.task, self.plans, self.optimizer = task, plans, optimizer
        self.plan = next(iter(plans.values()))
        self.settings, self.evaluate, self.watch = settings, evaluate, watch
        self.compute, self.processes, self.stop = compute, processes, stop
        self.scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
        self.backward = Backward(
            processes.wrap(student), task=task, compute=compute, processes=processes, scaler=self.scaler
        )
        learners: list[nn.Module] = [student, *task.learners()]
        self.parameters = [one for model in learners for one in model.parameters() if one.requires_grad]
        self.state = TrainerState()
        # Set before `run`: what it writes is made of the trainer's own state.
        self.recorder: Recorder
        self.batches_per_step = settings.accumulate * processes.count
        self.total_steps = self._total_steps()
        self.is_saved = True
        # Seconds that steps took, and that they waited for their texts before.
        self.stepped = self.waited = 0.0
        self.saved_best: tuple[float | None, int | None] = (None, None)

    def _total_steps(self) -> int:
        """Steps done and steps left: always the same number, unless a run goes on with other settings."""
        steps = self.state.step - self.state.position
        for epoch in range(self.state.epoch, self.settings.epochs):
            steps += steps_in(self.plan, epoch, batches_per_step=self.batches_per_step)
            if self.settings.max_steps is not None and steps >= self.settings.max_steps:
                return self.settings.max_steps
        return steps

    def run(self) -> None:
        """Train from where the state is to the end.

        Raises:
            Interrupted: a signal came; a checkpoint was written.
            TrainingFailed: the loss is not finite again and again.
            ResourceError: checkpoints cannot be written.
        """
        try:
            with Ahead(self._remaining_steps()) as steps:
                for step in steps:
                    self._at_boundary()
                    if self._is_stale():
                        stale = self.state.stale_evaluations
                        log.info("early stopping after %d evaluations that were not better", stale)
                        break
                    self._step(step, waited=steps.waited)
                    self.state.epoch, self.state.position = step.epoch, step.position
            self._at_boundary(at_end=True)
        except Interrupted:
            self._save()
            raise
        if not self.is_saved:
            problem = "the last checkpoint was not written (see above). Free some disk space and resume."
            raise agreed(ResourceError(problem))

    def _remaining_steps(self) -> Iterator[Step]:
        state, processes = self.state, self.processes
        share = Share(self.settings.accumulate, processes.rank, processes.count, self.compute.device)
        count = self.total_steps - state.step
        return planned_steps(self.plans, epoch=state.epoch, position=state.position, count=count, share=share)

    def waiting(self) -> float:
        """The share of the time in which steps waited for their texts."""
        return self.waited / max(self.stepped + self.waited, 1e-9)

    def _at_boundary(self, *, at_end: bool = False) -> None:
        """Between two steps: evaluate, save, and see whether to end."""
        state, settings = self.state, self.settings
        every = settings.evaluate_every
        due = state.step % every == 0 if every else state.position == 0
        evaluated = False
        if state.evaluated_step != state.step and (due or at_end or state.step == 0):
            self._evaluate()
            evaluated = state.step > 0
        if self.processes.count == 1:
            self.stop.check()
        else:
            self.stop.check_agreed()
        save_due = state.step % settings.save_every == 0 if settings.save_every else evaluated
        if state.step > 0 and (save_due or evaluated):
            self._save()
        self.watch.check(best_step=state.best_step)

    def _save(self) -> None:
        """Write a checkpoint; what is best is always one that was written, since the run ends with it."""
        state = self.state
        self.is_saved = self.recorder.save(state)
        if self.is_saved:
            self.saved_best = (state.best_value, state.best_step)
        else:
            state.best_value, state.best_step = self.saved_best

    def _evaluate(self) -> None:
        state, started = self.state, time.perf_counter()
        fault_point("evaluation")
        value = (report := self.evaluate()).value(self.settings.metric)
        if math.isnan(value):
            problem = f"{self.settings.metric} is not a number at step {state.step}; see the report"
            raise agreed(TrainingFailed(problem))
        if state.step == 0:
            state.first_value = value
        elif state.best_value is None or is_better(
            self.settings.metric, value, state.best_value, min_delta=self.settings.min_delta
        ):
            state.best_value, state.best_step, state.stale_evaluations = value, state.step, 0
        else:
            # Of equal ones the newest: a small validation set is soon answered without a mistake.
            state.best_step = state.step if value == state.best_value else state.best_step
            state.stale_evaluations += 1
        state.evaluated_step = state.step
        seconds = round(time.perf_counter() - started, 3)
        record: dict[str, Any] = {"step": state.step, "epoch": state.epoch, "value": value, "seconds": seconds}
        record["evaluation"] = {name: report.mean(name) for name in report.metrics()}
        signs = dict(report.metadata.get("signs", {}))
        self.recorder.evaluation({**record, "best_step": state.best_step, **signs})
        self.watch.evaluation(state.step, progress=state.step / self.total_steps, value=value, signs=signs)

    def _is_stale(self) -> bool:
        return self.settings.patience is not None and self.state.stale_evaluations >= self.settings.patience

    def _step(self, step: Step, *, waited: float) -> None:
        """One optimizer step over the batches of all processes: `sum of losses / sum of weights`, divided once."""
        fault_point("step")
        started = time.perf_counter()
        state, settings = self.state, self.settings
        factor = schedule_factor(
            state.step, total_steps=self.total_steps, warmup=settings.warmup, schedule=settings.schedule
        )
        lr, weights = set_learning_rate(self.optimizer, factor=factor), self.task.weights(state.step / self.total_steps)
        found = self.backward.gradients(step, weights=weights, pieces=state.pieces)
        sums, state.pieces = found.sums, found.pieces
        mine = [*(sum(one) for one in sums), found.padded, found.tokens, *self.stop.votes()]
        totals = self.processes.total(mine, self.compute.device)
        self.stop.agree(totals[len(sums) + 2 :])
        all_padded, all_tokens = totals[len(sums) : len(sums) + 2]
        losses = {part.term: total / part.weight for part, total in zip(step.parts, totals, strict=False)}
        loss = sum(weights[term] * value for term, value in losses.items())
        norm, applied = self._apply(loss)
        state.step += 1
        state.texts += step.texts
        seconds = time.perf_counter() - started
        self.stepped, self.waited = self.stepped + seconds, self.waited + waited
        record: dict[str, Any] = {"step": state.step, "epoch": state.epoch, "loss": loss, "lr": lr, "grad_norm": norm}
        if not applied:
            state.skipped += 1
            rows = rows_to_blame(step, sums=sums, rank=self.processes.rank, processes=self.processes.count)
            record |= {"loss": None, "grad_norm": None, "skipped": rows}
        elif len(losses) > 1:
            record["losses"] = losses
        record |= {"texts": step.texts, "texts_per_s": step.texts / seconds, "tokens_per_s": all_tokens / seconds}
        record |= {"padding": 1 - all_tokens / all_padded, "seconds": seconds, "waited": waited}
        if found.pieces > 1:
            record["pieces"] = found.pieces
        if found.too_large:
            record["out_of_memory"] = found.too_large
        self.recorder.step(record)
        if applied:
            self.watch.step(state.step, loss_value=loss, norm=norm)
        if state.skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            problem = (
                f"loss or gradient was not finite in {MAX_SKIPPED_IN_A_ROW} steps in a row (see above for the rows). "
                "Try a smaller optimizer.lr, or trainer.precision=fp32; the last checkpoint is good."
            )
            raise agreed(TrainingFailed(problem))

    def _apply(self, loss: float) -> tuple[float, bool]:
        """Clip and step, unless loss or gradient are not finite; returns the gradient's norm and whether it stepped."""
        self.scaler.unscale_(self.optimizer)
        limit = self.settings.max_grad_norm or math.inf
        norm = clip_gradients(self.parameters, max_norm=limit).item()
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self._move()
            self.state.skipped_in_a_row = 0
        elif self.scaler.is_enabled() and math.isfinite(loss) and self.scaler.get_scale() > 1:
            log.info("the fp16 gradient overflowed; its scale is halved")
        else:
            self.state.skipped_in_a_row += 1
        self.scaler.update()
        return norm, finite

    def _move(self) -> None:
        """One step of the optimizer, which makes its running averages at the first."""
        try:
            self.scaler.step(self.optimizer)
        except MEMORY_ERRORS as error:
            if not is_out_of_memory(error):
                raise
            what = "out of memory in the step of the optimizer, whatever the batch"
            raise ResourceError(f"{what}. {SMALLER}, or optimizer=sgd, which keeps less.") from error

    def state_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        return {
            "trainer": asdict(self.state),
            "scaler": self.scaler.state_dict(),
            "metric": self.settings.metric,
            "watch": self.watch.state_dict(),
        }

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """Go on from a state of `state_dict`.

        Raises:
            ConfigError: when it is not such a state.
        """
        self.state = state = read_trainer_state(stored.get("trainer"))
        self.watch.load_state_dict(stored.get("watch"))
        if stored.get("scaler"):
            try:
                self.scaler.load_state_dict(stored["scaler"])
            except (KeyError, TypeError, AttributeError, RuntimeError) as error:
                raise ConfigError(f"the checkpoint's fp16 scale cannot be read: {error!r}") from error
        if state.position >= steps_in(self.plan, state.epoch, batches_per_step=self.batches_per_step):
            # Only where other settings give the epoch fewer steps than are done.
            state.epoch, state.position = state.epoch + 1, 0
        self.total_steps = self._total_steps()
        self.saved_best = (state.best_value, state.best_step)

    def forget_best(self) -> None:
        """Let the next evaluation decide what is best; the one of this step is done once more."""
        self.state.forget_best()
        self.saved_best = (None, None)
