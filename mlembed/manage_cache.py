"""`mlembed cache`: what is kept between runs, and deleting it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mlembed.cache.cache_folder import CacheEntry, cache_folder, delete, delete_leftovers, entries, shown
from mlembed.errors import ConfigError, ResourceError

SECONDS_A_DAY = 86400
# A key is known by its first digits, this many or more.
KEY_DIGITS = 6


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `cache`.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    options = _parse(words)
    try:
        root = cache_folder()
        found = list(entries(root))
    except OSError as error:
        raise ResourceError(f"the cache folder cannot be read: {error}") from error
    if options.action == "ls":
        _list(found, root=root, as_json=options.json)
    else:
        _clear(found, options, root=root)
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mlembed cache",
        description="What is kept between runs, such as the teacher's vectors. It lies in the user's cache folder, or "
        "where MLEMBED_CACHE says.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ls|clear")
    ls = actions.add_parser("ls", help="list what is kept", description="List what is kept.")
    ls.add_argument("--json", action="store_true", help="as JSON, for programs")
    clear = actions.add_parser(
        "clear",
        help="delete all of it, or some",
        description="Delete what is kept: all of it, or what is named. What a run uses now stays.",
    )
    clear.add_argument(
        "names", nargs="*", metavar="KIND|KEY", help="a kind or the first digits of a key, as `mlembed cache ls` says"
    )
    clear.add_argument("--older-than", type=float, metavar="DAYS", help="only what was not used for this long")
    clear.add_argument("--dry-run", action="store_true", help="say what would be deleted, and delete nothing")
    clear.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args(words)


def _list(found: Sequence[CacheEntry], *, root: Path, as_json: bool) -> None:
    total = sum(entry.size for entry in found)
    if as_json:
        listed = [
            {
                "kind": entry.kind,
                "key": entry.key,
                "what": entry.what,
                "texts": _texts(entry),
                "bytes": entry.size,
                "last_used": _utc(entry.used),
                "path": str(entry.path),
                "about": dict(entry.about),
            }
            for entry in found
        ]
        print(json.dumps({"folder": str(root), "bytes": total, "entries": listed}, indent=2, ensure_ascii=False))
        return
    if found:
        _print_table(found)
    print(f"{len(found)} entries, {_size(total)} in {shown(root)}")


def _print_table(found: Sequence[CacheEntry]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("kind", "what", "texts", "size", "last used", "path"):
        numeric = title in ("texts", "size")
        table.add_column(title, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for entry in found:
        texts = _texts(entry)
        cells = (
            entry.kind,
            entry.what,
            "-" if texts is None else f"{texts:,}",
            _size(entry.size),
            _utc(entry.used)[:10],
            shown(entry.path),
        )
        # Not markup: a folder may be called [red].
        table.add_row(*(Text(cell) for cell in cells))
    # What is read by a program, or by a person later, is not cut to a width that nobody has.
    console = Console(file=sys.stdout) if sys.stdout.isatty() else Console(file=sys.stdout, width=200)
    console.print(table)


def _clear(found: Sequence[CacheEntry], options: argparse.Namespace, *, root: Path) -> None:
    chosen = _chosen(found, options.names, root=root)
    if options.older_than is not None:
        if not options.older_than >= 0:
            raise ConfigError(f"--older-than {options.older_than:g}: a number of days is expected, 0 or more")
        chosen = [entry for entry in chosen if entry.used < time.time() - options.older_than * SECONDS_A_DAY]
    size = _size(sum(entry.size for entry in chosen))
    for entry in chosen:
        print(f"{shown(entry.path)}  {entry.what}  {_size(entry.size)}")
    if options.dry_run or not chosen:
        print(f"{len(chosen)} entries, {size}: " + ("nothing was deleted" if chosen else "nothing to delete"))
        return
    if not options.yes and not _agreed(f"delete these {len(chosen)} entries, {size}? [y/N] "):
        print("nothing was deleted")
        return
    problems = []
    freed = 0
    for entry in chosen:
        try:
            delete(entry)
            freed += entry.size
        except ResourceError as error:
            problems.append(str(error))
    delete_leftovers(root)
    print(f"{len(chosen) - len(problems)} entries deleted, {_size(freed)}")
    if problems:
        raise ResourceError("\n".join(problems))


def _chosen(found: Sequence[CacheEntry], names: Sequence[str], *, root: Path) -> list[CacheEntry]:
    """The entries that names mean; all where there are no names."""
    if not names:
        return list(found)
    chosen = []
    for name in names:
        meant = [
            entry for entry in found if entry.kind == name or (len(name) >= KEY_DIGITS and entry.key.startswith(name))
        ]
        if not meant:
            kinds = ", ".join(sorted({entry.kind for entry in found})) or "none"
            raise ConfigError(
                f"{name}: no kind and no key (at least {KEY_DIGITS} digits) in {shown(root)}; the kinds there are: "
                f"{kinds}. See mlembed cache ls"
            )
        chosen += meant
    return [entry for entry in found if entry in chosen]


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError("nobody can be asked here whether to delete; add --yes, or look first with --dry-run")
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _texts(entry: CacheEntry) -> int | None:
    """How many texts an entry knows; None: this kind does not count them."""
    from mlembed.cache.shard import texts_in
    from mlembed.cache.vector_store import TEACHERS

    if entry.kind == TEACHERS:
        return texts_in(entry.path)
    texts = entry.about.get("texts")
    return texts if isinstance(texts, int) else None


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
