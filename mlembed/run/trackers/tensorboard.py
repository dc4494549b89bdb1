"""TensorBoard: event files in RUN/tensorboard, written without TensorFlow and without torch."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from mlembed.run.trackers.tracker import TrackedRun

FOLDER = "tensorboard"


class TensorBoard:
    """Event files; `tensorboard --logdir runs` shows those of all runs."""

    package: ClassVar[str] = "tensorboard"

    def start(self, run: TrackedRun) -> str:
        """Open a file of events; a run that goes on writes another one into the same folder."""
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.events, self.summaries = event_pb2, summary_pb2
        folder = run.folder / FOLDER
        self.goes_on = folder.is_dir()
        self.writer: Any = EventFileWriter(str(folder))
        if not self.goes_on:
            self._text("config", json.dumps(run.config, indent=2, ensure_ascii=False))
        return FOLDER

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write one event; a run that goes on first takes back what it does again."""
        if self.goes_on:
            again = self.events.SessionLog(status=self.events.SessionLog.START)
            self.writer.add_event(self.events.Event(wall_time=time.time(), step=step, session_log=again))
            self.goes_on = False
        entries = [self.summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        summary = self.summaries.Summary(value=entries)
        self.writer.add_event(self.events.Event(wall_time=time.time(), step=step, summary=summary))

    def finish(self, *, done: bool) -> None:
        """Write what is left in memory."""
        self.writer.close()

    def _text(self, name: str, text: str) -> None:
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        kind = self.summaries.SummaryMetadata.PluginData(plugin_name="text")
        # Markdown: four spaces make a block of code.
        block = "".join(f"    {line}\n" for line in text.splitlines())
        tensor = TensorProto(dtype=DT_STRING, string_val=[block.encode()])
        value = self.summaries.Summary.Value(
            tag=name, metadata=self.summaries.SummaryMetadata(plugin_data=kind), tensor=tensor
        )
        summary = self.summaries.Summary(value=[value])
        self.writer.add_event(self.events.Event(wall_time=time.time(), step=0, summary=summary))
