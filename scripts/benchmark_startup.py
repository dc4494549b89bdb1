"""How long a user waits for `mlembed --help` and for the message about a typo: medians over some runs.

    python scripts/benchmark_startup.py [--runs 15]

Exits with 1 when a median is over its target.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

# What is measured -> arguments, exit code, target in seconds.
COMMANDS = {
    "mlembed --help": (["--help"], 0, 0.3),
    "a configuration error": (["train", "+optimizer.learnin_rate=1", "trainer.epochs=0"], 2, 1.5),
    "mlembed train --help": (["train", "--help"], 0, 1.5),
}


def measure(arguments: list[str], *, exit_code: int, runs: int) -> list[float]:
    """Seconds of each run, after one that is not counted and fills the caches."""
    program = [str(Path(sys.executable).with_name("mlembed")), *arguments]
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        done = subprocess.run(program, capture_output=True, text=True)
        seconds.append(time.perf_counter() - started)
        assert done.returncode == exit_code, done.stderr
    return seconds[1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    print(f"{'':24}{'median':>9}{'fastest':>9}{'slowest':>9}{'target':>9}")
    late = 0
    for name, (arguments, exit_code, target) in COMMANDS.items():
        seconds = measure(arguments, exit_code=exit_code, runs=runs)
        median = statistics.median(seconds)
        late += median > target
        print(f"{name:24}" + "".join(f"{one:7.2f} s" for one in (median, min(seconds), max(seconds), target)))
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
