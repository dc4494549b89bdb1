"""The results of a benchmark: bench.json, bench.md, and one table for the screen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlembed.bench.outcome import PARTS, medians
from mlembed.bench.quality import TOLERANCE, Judgment
from mlembed.bench.work import ModelShape
from mlembed.report.metrics import METRICS
from mlembed.report.report import Report
from mlembed.report.sections import grid

if TYPE_CHECKING:
    from rich.table import Table

FORMAT = "mlembed-bench/1"
# Figures whose ratio is reported: how many times as much of it the peer has.
RATIOS = {
    "end_to_end": "seconds/end to end",
    "end_to_end_with_evaluation": "seconds/end to end with evaluation",
    "training": "seconds/training",
    "start_up": "seconds/start-up",
    "peak_memory": "peak_memory_bytes",
}
# Figure -> its name in a table, the factor from what is stored, and the digits that are shown.
ROWS: dict[str, tuple[str, float, int]] = {
    **{f"seconds/{part}": (f"{part}, s", 1.0, 2) for part in PARTS if part not in ("evaluation", "ending")},
    "seconds/end to end": ("END TO END, s", 1.0, 2),
    "seconds/evaluation": ("evaluation, s", 1.0, 2),
    "seconds/end to end with evaluation": ("end to end with evaluation, s", 1.0, 2),
    "seconds/ending": ("ending, s", 1.0, 2),
    "pairs_per_s": ("pairs/s", 1.0, 0),
    "texts_per_s": ("texts/s", 1.0, 0),
    "tokens_per_s": ("tokens/s", 1.0, 0),
    "padding": ("padding, %", 100.0, 1),
    "peak_memory_bytes": ("peak memory, MB", 1e-6, 0),
    "model_flops": ("model TFLOP", 1e-12, 3),
    "share_of_peak": ("share of the peak, %", 100.0, 1),
    "share_of_peak_padded": ("the same with padding, %", 100.0, 1),
}
NOTES = """\
- **End to end** is the time from the start of the process to the saved student, without evaluation: mlembed measures
  its student before, between and after training, the published recipe here never. A row below counts this too.
- **Loading** is reading pairs and models; in mlembed a warm start too, for which teacher and student read some pairs.
- **Training** is making tokens and all steps, on every side. Texts, tokens, padding and shares are of that time. A pair
  is read as two texts by the recipe; mlembed reads each source once an epoch, whatever the number of its translations.
- **Share of the peak**: floating-point operations that the model needs (6 a parameter of its matrices and token, and
  12 x layers x width x length a token for attention: Kaplan et al. 2020; Chowdhery et al. 2022, appendix B), each
  second, of the fastest matrix product of the student's shapes here. Padding counts in the second row alone.
- **Ending** is what comes after the student is saved: mlembed's report and plots, and the end of the process."""


@dataclass(frozen=True)
class Result:
    """All that a benchmark has found.

    Args:
        about: machine, data, models, settings, as JSON values.
        figures: side -> its figures in each round.
        peak_gflops: precision -> the machine's peak.
        precision: of the training.
        shape: of the student.
        quality: the students on held-out rows, with mlembed as the last one.
        judgments: peer -> metric by metric.
        not_run: peer -> why it was not run.
    """

    about: Mapping[str, Any]
    figures: Mapping[str, Sequence[Mapping[str, float]]]
    peak_gflops: Mapping[str, float]
    precision: str
    shape: ModelShape
    quality: Report
    judgments: Mapping[str, Sequence[Judgment]]
    not_run: Mapping[str, str]

    @property
    def medians(self) -> dict[str, dict[str, float]]:
        """Side -> median of each figure."""
        return {side: medians(rounds) for side, rounds in self.figures.items()}

    def ratios(self, peer: str) -> dict[str, float]:
        """How many times as much of each figure of `RATIOS` a peer has."""
        sides = self.medians
        return {name: sides[peer][figure] / sides[self.quality.last][figure] for name, figure in RATIOS.items()}

    def worse(self) -> list[tuple[str, Judgment]]:
        """Peers and metrics that mlembed is worse than and in."""
        return [(peer, one) for peer, found in self.judgments.items() for one in found if not one.is_no_worse]

    def to_json(self) -> str:
        """The content of bench.json; its keys are frozen by a test."""
        document = {
            "format": FORMAT,
            **self.about,
            "student": self.shape.to_json(),
            "peak_gflops": dict(self.peak_gflops),
            "sides": {
                side: {"median": self.medians[side], "rounds": [dict(one) for one in rounds]}
                for side, rounds in self.figures.items()
            },
            "ratios": {peer: self.ratios(peer) for peer in self.judgments},
            "quality": json.loads(self.quality.to_json())["systems"],
            "verdict": {
                peer: {
                    "no_worse": all(one.is_no_worse for one in found),
                    "tolerance": TOLERANCE,
                    "metrics": {one.metric: {"mlembed": one.own, "peer": one.peer} for one in found},
                }
                for peer, found in self.judgments.items()
            },
            "not_run": dict(self.not_run),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def sentences(self) -> list[str]:
        """The result in words, a line each."""
        found = []
        for peer, judgments in self.judgments.items():
            ratios = self.ratios(peer)
            found.append(
                f"mlembed is {ratios['end_to_end']:.1f} times as fast as {peer} end to end "
                f"({ratios['end_to_end_with_evaluation']:.1f} with its evaluations), {ratios['training']:.1f} times in "
                "training alone"
            )
            for one in judgments:
                verdict = "no worse" if one.is_no_worse else "WORSE"
                title = METRICS[one.metric].title.removesuffix(" (x100)")
                found.append(f"{verdict}: {title}: mlembed {one.own:.1f}, {peer} {one.peer:.1f}")
        found += [f"{peer} was not run: {why}" for peer, why in self.not_run.items()]
        peak = self.peak_gflops
        found.append(
            f"matrix products of the student's shapes: {peak['fp32']:.0f} GFLOP/s in fp32, {peak['bf16']:.0f} in bf16"
        )
        return found

    def cells(self) -> list[list[str]]:
        """The table: a row a figure, a column a side, and with a peer, how many times as much it has."""
        sides = self.medians
        own = self.quality.last
        rows = []
        for figure, (title, scale, digits) in ROWS.items():
            values = {side: sides[side][figure] for side in sides}
            row = [title, *(f"{value * scale:,.{digits}f}" for value in values.values())]
            for peer in self.judgments:
                is_cost = figure in RATIOS.values() or figure == "seconds/teacher"
                row.append(f"{values[peer] / values[own]:.1f} x" if is_cost and values[own] else "")
            rows.append(row)
        return rows

    def header(self) -> list[str]:
        """The names of the columns of `cells`."""
        ratio = ["ratio"] if len(self.judgments) == 1 else [f"ratio to {peer}" for peer in self.judgments]
        return ["", *self.figures, *ratio]


def markdown(result: Result) -> str:
    """The content of bench.md."""
    about = result.about
    machine, data = about["machine"], about["data"]
    said = (
        f"{data['pairs']} pairs of {data['sources']} sources in {data['languages']} languages, {about['epochs']} "
        f"epochs, {result.precision} on {machine['device']} ({machine['cpus']} CPUs), medians of {about['rounds']} "
        f"rounds."
    )
    quality = result.quality
    systems = list(quality.systems)
    tables = []
    for metric in [name for name in ("retrieval", "sts", "sts_cross") if name in quality.metrics()]:
        known = METRICS[metric]
        rows = []
        for language in quality.languages():
            found = [quality.estimate(metric, language, system=system) for system in systems]
            if any(found):
                rows.append([language, *(known.format(one.value) if one else "-" for one in found)])
        rows.append(["**mean**", *(known.format(quality.mean(metric, system=system)) for system in systems)])
        tables += [f"### {known.title}", grid(["", *systems], rows)]
    sentences = "\n".join(f"- {sentence}" for sentence in result.sentences())
    parts = ["# Benchmark", said, sentences, "## Time and memory", grid(result.header(), result.cells()), NOTES]
    return "\n\n".join([*parts, f"## Quality on {quality.test_set}", *tables]) + "\n"


def terminal_table(result: Result) -> Table:
    """One table for the screen."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, title_justify="left")
    for at, name in enumerate(result.header()):
        table.add_column(Text(name), justify="right" if at else "left", no_wrap=True)
    for row in result.cells():
        style = "bold" if row[0] == ROWS[RATIOS["end_to_end"]][0] else ""
        table.add_row(*(Text(cell, style=style) for cell in row))
    return table
