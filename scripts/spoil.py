"""Spoils a parallel corpus on purpose, writes down what was put where, and compares it with what `mlembed check` finds.

    python scripts/spoil.py make CORPUS.tsv FOLDER --seed 1
    mlembed check data=files data.train=[FOLDER/train.tsv,FOLDER/broken.tsv] data.test=FOLDER/test.tsv --json found.json
    python scripts/spoil.py compare FOLDER found.json

CORPUS is a TSV file (`.gz` too) with the columns source, target, lang.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

Row = tuple[str, str, str]

HEADER = "source\ttarget\tlang"
# What `mlembed check` calls what was put in: kind -> the kinds of findings that count as finding it.
FOUND_AS = {
    "shifted": ("misaligned", "length"),
    "wrong_language": ("wrong_language",),
    "test_copy": ("leak",),
    "test_variant": ("leak_normalised",),
    "duplicate": ("duplicate",),
    "broken": ("bad_row",),
}
# Lines that are moved together: as when a line was lost on one side, and found again.
SHORTEST_BLOCK, LONGEST_BLOCK = 4, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    make = verbs.add_parser("make", help="spoil a corpus")
    make.add_argument("corpus", type=Path)
    make.add_argument("folder", type=Path)
    make.add_argument("--seed", type=int, default=1)
    make.add_argument("--languages", help="of the corpus, with commas between them (default: all)")
    make.add_argument("--max-rows", type=int, help="take so many rows of the corpus, from its beginning")
    make.add_argument("--test-sources", type=int, default=300, help="source sentences that become the test set")
    make.add_argument("--shifted", type=float, default=0.02, help="share of rows whose translation is the next row's")
    make.add_argument("--wrong-language", type=float, default=0.01, help="share of rows translated into another one")
    make.add_argument("--test-rows", type=float, default=0.01, help="share of rows that are copies of test rows")
    make.add_argument("--duplicates", type=float, default=0.005, help="share of rows that are there twice")
    make.add_argument("--broken", type=int, default=20, help="broken lines of the broken file")
    compare = verbs.add_parser("compare", help="compare what was put in with what was found")
    compare.add_argument("folder", type=Path)
    compare.add_argument("found", type=Path)
    options = parser.parse_args()
    if options.verb == "compare":
        print(comparison(options.folder, options.found))
    else:
        print(spoil(options))


def spoil(options: argparse.Namespace) -> str:
    """Write train.tsv, broken.tsv, test.tsv, and truth.tsv; returns what was put in."""
    draw = random.Random(options.seed)
    rows = list(read_rows(options.corpus, languages=options.languages, max_rows=options.max_rows))
    sources = sorted({source for source, _, _ in rows})
    held_out = set(draw.sample(sources, options.test_sources))
    test = [row for row in rows if row[0] in held_out]
    rows = [row for row in rows if row[0] not in held_out]
    whole = [rows.pop() for _ in range(2 * options.broken)]
    count = len(rows)
    kind_of: dict[int, str] = {}
    shift(rows, kind_of, wanted=round(options.shifted * count), draw=draw)
    mistranslate(rows, kind_of, wanted=round(options.wrong_language * count), draw=draw)
    added = [(row, "duplicate") for row in draw.sample(rows, round(options.duplicates * count))]
    copies = draw.choices(test, k=round(options.test_rows * count))
    # Half of them as they are, half with other capitals, points and spaces.
    for at, (source, target, language) in enumerate(copies):
        variant = f"{source.rstrip('.').upper()} !", f" {target.rstrip('.')}…", language
        added.append((variant, "test_variant") if at % 2 else ((source, target, language), "test_copy"))
    kinds = [kind_of.get(at, "") for at in range(count)]
    for row, kind in added:
        # After what it is a copy of: the first of two is the one that is kept.
        place = len(rows) if kind == "duplicate" else draw.randrange(len(rows) + 1)
        rows.insert(place, row)
        kinds.insert(place, kind)
    options.folder.mkdir(parents=True, exist_ok=True)
    train, broken = options.folder / "train.tsv", options.folder / "broken.tsv"
    write(train, rows)
    write(options.folder / "test.tsv", test)
    truth = [(kind, train, line) for line, kind in enumerate(kinds, 2) if kind]
    truth += [("broken", broken, line) for line in write_broken(broken, whole)]
    lines = [f"{kind}\t{path}\t{line}\n" for kind, path, line in truth]
    (options.folder / "truth.tsv").write_text("kind\tfile\tline\n" + "".join(lines), encoding="utf-8")
    return f"{len(rows)} rows; put in: {dict(Counter(kind for kind, _, _ in truth))}"


def read_rows(path: Path, *, languages: str | None, max_rows: int | None) -> Iterator[Row]:
    """The rows of the corpus that can be spoilt: translations that differ from their sources."""
    wanted = set(languages.split(",")) if languages else None
    seen: set[Row] = set()
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        names = next(file).rstrip("\n").split("\t")
        columns = [names.index(name) for name in ("source", "target", "lang")]
        for line in file:
            cells = line.rstrip("\n").split("\t")
            source, target, language = (cells[at].strip() for at in columns)
            row = source, target, language
            if source == target or row in seen or (wanted and language not in wanted) or not (source and target):
                continue
            seen.add(row)
            yield row
            if len(seen) == max_rows:
                return


def shift(rows: list[Row], kind_of: dict[int, str], *, wanted: int, draw: random.Random) -> None:
    """Give the rows of some blocks the translation of the next row in the same language."""
    of_language: dict[str, list[int]] = defaultdict(list)
    for at, (_, _, language) in enumerate(rows):
        of_language[language].append(at)
    languages = sorted(language for language, places in of_language.items() if len(places) > 2 * LONGEST_BLOCK)
    while wanted > 1:
        places = of_language[draw.choice(languages)]
        length = min(draw.randint(SHORTEST_BLOCK, LONGEST_BLOCK), wanted)
        start = draw.randrange(len(places) - length)
        block = places[start : start + length]
        targets = [rows[at][1] for at in block]
        moved = [*targets[1:], targets[0]]
        if any(at in kind_of for at in block) or any(old == new for old, new in zip(targets, moved, strict=True)):
            continue
        for at, target in zip(block, moved, strict=True):
            rows[at] = rows[at][0], target, rows[at][2]
            kind_of[at] = "shifted"
        wanted -= length


def mistranslate(rows: list[Row], kind_of: dict[int, str], *, wanted: int, draw: random.Random) -> None:
    """Give some rows the right translation in a wrong language; where there is none, any text of another language."""
    others: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for at, (source, target, language) in enumerate(rows):
        if at not in kind_of:
            others[source].append((language, target))
    free = [at for at in range(len(rows)) if at not in kind_of]
    for at in draw.sample(free, wanted):
        source, _, language = rows[at]
        choices = [target for other, target in others[source] if other != language]
        while not choices:
            _, target, other = rows[draw.choice(free)]
            choices = [target] if other != language else []
        rows[at] = source, draw.choice(choices), language
        kind_of[at] = "wrong_language"


def write_broken(path: Path, rows: list[Row]) -> list[int]:
    """A file in which every second line is broken, in three ways; returns the broken lines."""
    lines, broken = [HEADER.encode()], []
    for at, (source, target, language) in enumerate(rows):
        row = f"{source}\t{target}\t{language}"
        if at % 2:
            lines.append(row.encode())
            continue
        bad = [f"{source}\t{target}".encode(), f"{row}\tmore".encode(), b"\xff" + row.encode()]
        lines.append(bad[at // 2 % 3])
        broken.append(len(lines))
    path.write_bytes(b"\n".join(lines) + b"\n")
    return broken


def write(path: Path, rows: list[Row]) -> None:
    lines = [HEADER, *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def comparison(folder: Path, found: Path) -> str:
    """A table of what was put in, and what was found of it."""
    truth: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for line in (folder / "truth.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        kind, path, at = line.split("\t")
        truth[kind].add((str(Path(path).resolve()), int(at)))
    found_rows: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for finding in json.loads(found.read_text(encoding="utf-8"))["findings"]:
        places = {(str(Path(row["file"]).resolve()), row["line"]) for row in finding["rows"]}
        found_rows[finding["kind"]] |= places
    put_in_at_all = set().union(*truth.values())
    lines = ["| put in | rows | found | recall | findings | of them put in | precision |", "| --- |" + " ---: |" * 6]
    for kind, names in FOUND_AS.items():
        wanted = truth[kind]
        findings: set[tuple[str, int]] = set().union(*(found_rows[name] for name in names))
        hit, ours = len(wanted & findings), len(findings & put_in_at_all)
        shares = [
            f"{100 * part / whole:.1f} %" if whole else "-"
            for part, whole in ((hit, len(wanted)), (ours, len(findings)))
        ]
        lines.append(f"| {kind} | {len(wanted)} | {hit} | {shares[0]} | {len(findings)} | {ours} | {shares[1]} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
