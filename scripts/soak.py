"""Many short trainings, each ended several times at a random moment and in a random way, and what was lost by it.

    python scripts/soak.py [--runs 200] [--seed 0] [--workers 2] [--output soak.json]

Runs for embeddings and for labels, with a frozen and with a learning teacher, in one process and in two, are killed
(SIGKILL, SIGTERM, SIGINT) at a moment or at a point of the code, with or without a full disk, and find files of their
newest checkpoint spoiled. Each must end with the weights, losses and evaluations of the same run that nothing ended.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from soaking import KINDS, Kind, Process, Reference, damage_newest, fill_disk, newest_whole

SIGNALS = ("SIGKILL", "SIGKILL", "SIGKILL", "SIGTERM", "SIGINT")
# Points of the code at which a process can end itself, and how often a short run comes by.
POINTS = {
    "step": 16,
    "backward": 16,
    "evaluation": 6,
    "save.start": 6,
    "save.mid_write": 6,
    "save.before_manifest": 6,
    "save.before_rename": 6,
    "save.after_rename": 6,
    "save.before_rotation": 6,
    "save.mid_rotation": 4,
    "shard.written": 2,
    "encode.teacher": 1,
    "encode.testing the student": 1,
}
# How a process may end: whole, by a signal, by one that it answers, or because the disk was full.
EXPECTED = {0, -9, -15, -2, 130, 143, 4}
MAX_ENDS = 3


@dataclass
class Outcome:
    """What happened to one training.

    Args:
        kind: which.
        number: of the training.
        ends: how it was ended, in order.
        kills: how many of them ended it before it was done.
        spoiled: how many files of checkpoints were spoiled.
        problems: what should not have been; empty when all is as it must be.
    """

    kind: str
    number: int
    ends: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    kills: int = 0
    spoiled: int = 0
    lost_steps: int = 0
    repeated_steps: int = 0
    wrong_hash: bool = False
    unverifiable: int = 0


def soak_one(kind: Kind, number: int, *, seed: int, folder: Path, reference: Reference) -> Outcome:
    """Start a training, end it a few times, let it finish, and compare."""
    generator = random.Random(f"{seed}-{number}")
    place = folder / f"run-{number}"
    run, outcome = place / "run", Outcome(kind.name, number)
    place.mkdir()
    for _ in range(generator.randint(1, MAX_ENDS)):
        before = newest_whole(run)
        _end_once(kind, place, generator=generator, seconds=reference.seconds, outcome=outcome)
        after = newest_whole(run)
        if before is not None and (after is None or after < before) and not (run / "student").exists():
            outcome.unverifiable += 1
            outcome.problems.append(f"the checkpoint of step {before} is gone; there is {after}")
        if (run / "student").exists():
            break
        if generator.random() < 0.3 and (spoiled := damage_newest(run, generator)):
            outcome.ends.append(f"spoiled {spoiled}")
            outcome.spoiled += 1
    with Process(kind, place) as process:
        code = process.wait()
    if code != 0:
        outcome.problems.append(f"the last start ended with {code}: {process.said()[-1500:]}")
        return outcome
    reference.compare(run, outcome)
    if not outcome.problems:
        shutil.rmtree(place)
    return outcome


def _end_once(kind: Kind, place: Path, *, generator: random.Random, seconds: float, outcome: Outcome) -> None:
    how = generator.choices(("moment", "point", "disk"), weights=(5, 4, 1))[0]
    signal_name = generator.choice(SIGNALS)
    fault = None
    if how == "point":
        point = generator.choice(list(POINTS))
        fault = f"{point}:{generator.randint(1, POINTS[point])}:{signal_name}"
    with Process(kind, place, fault=fault) as process:
        if how == "moment":
            process.wait(generator.uniform(0.1, seconds))
            process.send(signal_name, whom=generator.randint(0, kind.processes - 1))
        elif how == "disk":
            process.wait(generator.uniform(0.1, seconds))
            fill_disk(process.pids())
            process.wait(generator.uniform(0.1, seconds))
            process.send("SIGKILL", whom=generator.randint(0, kind.processes - 1))
        code = process.wait()
    outcome.ends.append(f"{how} {fault or signal_name}: {code}")
    outcome.kills += code != 0
    said = process.said()
    # torchrun says with a traceback of its own that one of its processes has ended.
    if kind.processes == 1 and (code not in EXPECTED or "Traceback" in said):
        outcome.problems.append(f"ended with {code} after {outcome.ends[-1]}: {said[-1500:]}")


def summary(outcomes: list[Outcome], *, seconds: float) -> dict[str, object]:
    """The figures."""
    return {
        "trainings": len(outcomes),
        "by_kind": dict(Counter(one.kind for one in outcomes)),
        "kills": sum(one.kills for one in outcomes),
        "spoiled_files": sum(one.spoiled for one in outcomes),
        "lost_steps": sum(one.lost_steps for one in outcomes),
        "repeated_steps": sum(one.repeated_steps for one in outcomes),
        "wrong_final_hashes": sum(one.wrong_hash for one in outcomes),
        "unverifiable_states": sum(one.unverifiable for one in outcomes),
        "trainings_with_problems": sum(bool(one.problems) for one in outcomes),
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Run the soak; the exit code is 0 when nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="how many trainings (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="trainings at one time (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="a JSON file for the figures and what happened to each training")
    options = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder = Path(tempfile.mkdtemp(prefix="mlembed-soak-"))
    started = time.monotonic()
    references = {kind.name: Reference.of(kind, folder / kind.name) for kind in KINDS}
    names = random.Random(options.seed).choices(KINDS, weights=[kind.weight for kind in KINDS], k=options.runs)
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(options.workers) as pool:
        futures = [
            pool.submit(
                soak_one, kind, number, seed=options.seed, folder=folder / kind.name, reference=references[kind.name]
            )
            for number, kind in enumerate(names)
        ]
        for future in futures:
            outcome = future.result()
            outcomes.append(outcome)
            verdict = "; ".join(outcome.problems) or "as if nothing had happened"
            print(
                f"{outcome.number + 1}/{options.runs} {outcome.kind}: {', '.join(outcome.ends)}: {verdict}", flush=True
            )
    figures = summary(outcomes, seconds=time.monotonic() - started)
    print(json.dumps(figures, indent=1))
    if options.output:
        content = {"figures": figures, "trainings": [vars(one) for one in outcomes]}
        options.output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if figures["trainings_with_problems"]:
        print(f"what is left of those with problems is in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
