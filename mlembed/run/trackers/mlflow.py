"""MLflow: to a tracking server, a database, or a file in the run directory."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from mlembed.run.trackers.tracker import TrackedRun

# A request a step would be slower than the steps; servers take this many at once.
MOST_AT_ONCE, SECONDS_BETWEEN = 500, 5.0


class MLflow:
    """A run of MLflow; name and password are taken from its environment variables, never from the configuration."""

    package: ClassVar[str] = "mlflow"

    def start(self, run: TrackedRun) -> str:
        """Begin a run, or go on with the one of an earlier start."""
        from mlflow.entities import Param, RunTag
        from mlflow.tracking import MlflowClient

        own = f"sqlite:///{(run.folder / 'mlflow.db').absolute()}"
        uri = run.setting("mlflow.uri") or os.environ.get("MLFLOW_TRACKING_URI") or own
        self.client: Any = MlflowClient(tracking_uri=uri)
        self.waiting: list[Any] = []
        self.sent = time.monotonic()
        if run.known_id is not None:
            self.run_id = run.known_id
            self.client.update_run(self.run_id, status="RUNNING")
            return self.run_id
        found = self.client.get_experiment_by_name(run.setting("project"))
        experiment = found.experiment_id if found else self.client.create_experiment(run.setting("project"))
        group = {"group": run.setting("group")} if run.setting("group") else {}
        tags = {"mlflow.runName": run.name, **group, **dict.fromkeys(run.setting("tags"), "true")}
        self.run_id = self.client.create_run(experiment, tags=tags, run_name=run.name).info.run_id
        params = [Param(key, str(value)[:500]) for key, value in _leaves(run.config)]
        for at in range(0, len(params), 100):
            self.client.log_batch(self.run_id, params=params[at : at + 100])
        self.client.log_batch(self.run_id, tags=[RunTag("mlembed.run", str(run.folder))])
        return str(self.run_id)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Keep figures until there are enough of them, or some seconds have gone by."""
        from mlflow.entities import Metric

        stamp = int(time.time() * 1000)
        self.waiting += [Metric(name, value, stamp, step) for name, value in values.items()]
        if len(self.waiting) >= MOST_AT_ONCE or time.monotonic() - self.sent > SECONDS_BETWEEN:
            self._send()

    def finish(self, *, done: bool) -> None:
        """Send what is left."""
        self._send()
        self.client.set_terminated(self.run_id, status="FINISHED" if done else "KILLED")

    def _send(self) -> None:
        waiting, self.waiting = self.waiting, []
        for at in range(0, len(waiting), MOST_AT_ONCE):
            self.client.log_batch(self.run_id, metrics=waiting[at : at + MOST_AT_ONCE])
        self.sent = time.monotonic()


def _leaves(node: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Every dotted key with its value."""
    found: list[tuple[str, Any]] = []
    for key, value in node.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return found
