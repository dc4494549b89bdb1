"""Reads hostile inputs by the thousand: whatever is neither read nor refused with a clear error is a finding.

    python scripts/fuzz.py [TARGET ...] [--inputs 100000] [--seed 0] [--findings FOLDER]
    python scripts/fuzz.py TARGET --replay FOLDER/FINDING
    python scripts/fuzz.py TARGET --engine atheris

Valid files are changed a little, or made by strategies of hypothesis (tests/fuzzing/), and read in processes with
bounds on memory and time, so that a crash of a library in C is seen too. With atheris (pip install "mlembed[fuzz]")
the inputs that reach new lines of mlembed are changed further; it ends at the first finding.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"


def main() -> int:
    """Fuzz, and return how many targets had findings."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all of tests/fuzzing/targets.py when left out")
    parser.add_argument("--inputs", type=int, default=100_000, help="for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-memory", type=int, default=1024, help="MiB that an input may take")
    parser.add_argument("--max-seconds", type=float, default=10.0, help="that an input may take")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="where they are kept")
    parser.add_argument("--replay", type=Path, help="a finding that is read again")
    parser.add_argument("--engine", choices=("mutations", "atheris"), default="mutations")
    options = parser.parse_args()
    if options.engine == "atheris":
        from fuzzing.coverage import fuzz_by_coverage

        if len(options.targets) != 1:
            parser.error("atheris fuzzes one target: it ends the process")
        fuzz_by_coverage(
            options.targets[0], inputs=options.inputs, seed=options.seed, mib=options.max_memory, to=options.findings
        )
    from fuzzing.targets import TARGETS
    from fuzzing.worker import MIB, Limits, fuzz, replay

    if unknown := sorted(set(options.targets) - set(TARGETS)):
        parser.error(f"there is no target {unknown[0]}; the targets are {', '.join(TARGETS)}")
    if options.replay is not None:
        problem = replay(options.targets[0], options.replay)
        print(problem or "it is read, or refused with a clear error")
        return int(problem is not None)
    limits = Limits(memory=options.max_memory * MIB, seconds=options.max_seconds)
    bad = 0
    for name in options.targets or TARGETS:
        found = fuzz(name, inputs=options.inputs, seed=options.seed, limits=limits, findings=options.findings)
        print(
            f"{name:12} {found.inputs:7} inputs {found.errors:7} refused {found.seconds:7.0f} s"
            f" {found.peak / MIB:6.0f} MiB {len(found.findings):3} findings",
            flush=True,
        )
        for folder, problem in found.findings.items():
            print(f"    {options.findings / folder}: {problem.strip().splitlines()[-1][:200]}", flush=True)
        bad += bool(found.findings)
    return bad


if __name__ == "__main__":
    sys.exit(main())
