"""Trains one student with and without its warm start on growing data, and draws what each reaches."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

METRICS = {"sts": "STS, same language", "sts_cross": "STS, source to other", "retrieval": "retrieval at 1"}


def run_of(folder: Path, *, sources: int, start: str) -> Path:
    return folder / f"{sources}-{start}"


def train(run: Path, *, sources: int, start: str, words: list[str]) -> None:
    """Train once; a run that is finished is not repeated, one that was killed goes on."""
    settings = [f"data.max_sources={sources}", f"model.warm_start={start}", f"run.dir={run}", "trainer.progress=none"]
    command = [sys.executable, "-m", "mlembed", "train", "model=pretrained", "data=files", *words, *settings]
    subprocess.run(command, check=True)


def means(run: Path, *, source_language: str) -> dict[str, dict[str, float]]:
    """System -> metric -> mean over the languages but the source's, x100."""
    systems = json.loads((run / "report.json").read_text(encoding="utf-8"))["systems"]
    result: dict[str, dict[str, float]] = {}
    for system, found in systems.items():
        others = [scores for language, scores in found["languages"].items() if language != source_language]
        result[system] = {
            metric: 100 * sum(scores[metric]["value"] for scores in others) / len(others) for metric in METRICS
        }
    return result


def table(results: dict[tuple[int, str], dict[str, dict[str, float]]]) -> str:
    lines = ["| sources | warm start | | " + " | ".join(METRICS.values()) + " |", "| --- " * (3 + len(METRICS)) + "|"]
    for (sources, start), systems in results.items():
        for system in ("before", "after"):
            figures = " | ".join(f"{systems[system][metric]:.1f}" for metric in METRICS)
            lines.append(f"| {sources:,} | {start} | {system} | {figures} |")
    return "\n".join(lines)


def draw(results: dict[tuple[int, str], dict[str, dict[str, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(METRICS), figsize=(12, 3.6), layout="constrained")
    for axis, (metric, title) in zip(axes, METRICS.items(), strict=True):
        for start, color in (("ridge", "tab:blue"), ("none", "tab:orange")):
            for system, style in (("after", "-o"), ("before", "--x")):
                points = [(n, systems[system][metric]) for (n, s), systems in results.items() if s == start]
                label = f"{'warm start' if start == 'ridge' else 'no warm start'}, {system} training"
                axis.plot(*zip(*sorted(points), strict=True), style, color=color, label=label)
        axis.set(xscale="log", xlabel="source sentences", title=f"{title} (x100)")
        axis.set_xticks(sorted({n for n, _ in results}), [f"{n:,}" for n in sorted({n for n, _ in results})])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="Other words are settings of `mlembed train`.")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs, of table.md and warm_start.png")
    parser.add_argument("--sources", type=int, nargs="+", default=[200, 1000, 5000])
    parser.add_argument("--source-language", default="en")
    options, words = parser.parse_known_args()
    results = {}
    for sources in options.sources:
        for start in ("ridge", "none"):
            run = run_of(options.output, sources=sources, start=start)
            train(run, sources=sources, start=start, words=words)
            results[sources, start] = means(run, source_language=options.source_language)
    (options.output / "table.md").write_text(table(results) + "\n", encoding="utf-8")
    print(table(results))
    draw(results, options.output / "warm_start.png")


if __name__ == "__main__":
    main()
