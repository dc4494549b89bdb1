"""Changes valid files a little: bytes, numbers, encodings, lines, and the trees of JSON."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Sequence

Files = dict[str, bytes]
MOST_BYTES = 1 << 18

# What parsers stumble over, in any format.
TOKENS = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    "\u2028".encode(),
    b"\r",
    b"\r\n",
    b"\n\n",
    b"\t",
    b'"',
    b'""',
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"${oc.env:HOME}",
    b"???",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"99999999999999999999999999",
    b"-1",
    b"null",
    b"[[[[[[[[",
    b"{}",
    b"../../etc/passwd",
    b"<!DOCTYPE tmx [<!ENTITY a 'a'>]>",
    b"&a;",
    b"&#0;",
    b"<![CDATA[",
    b"<tu><tuv xml:lang='en'><seg>",
    b'msgid_plural "x"\nmsgstr[99999999] "y"\n',
    b'msgstr[-1] "y"\n',
    b"#~ ",
    b"#| ",
    b'"Content-Type: text/plain; charset=rot13\\n"\n',
    b"charset=idna",
    b"Plural-Forms: nplurals=1000000000; plural=n;",
)
NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
VALUES: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**40,
    1e308,
    float("inf"),
    float("nan"),
    "",
    "x",
    "a" * 5000,
    "\ud800",
    "\0",
    "../x",
    "/etc/passwd",
    "${oc.env:HOME}",
    "???",
    "auto",
    [],
    [[]],
    [None],
    {},
    {"_target_": "os.getcwd"},
    {"": None},
)
KEYS = ("", "_target_", "auto_map", "kind", "name", "x" * 300, "\ud800", "__class__", "0")


def mutate(files: Files, others: Sequence[Files], rng: random.Random) -> Files:
    """One of the files, changed once or several times.

    Args:
        files: valid files by name.
        others: more of the same kind, to take pieces from.
        rng: decides what happens.
    """
    name = rng.choice(sorted(files))
    content = files[name]
    if name.endswith((".json", ".jsonl")) and rng.random() < 0.6:
        content = _mutated_json(content, rng)
    else:
        other = rng.choice(others)
        for _ in range(rng.choice((1, 1, 2, 3, 6))):
            content = rng.choice(CHANGES)(content, other.get(name, b""), rng)[:MOST_BYTES]
    return {**files, name: content}


def _place(content: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(content) + 1)
    return start, min(len(content), start + int(rng.expovariate(0.05)))


def _flip(content: bytes, _: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 4))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _set_byte(content: bytes, _: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content or b"\0")
    changed[rng.randrange(len(changed))] = rng.choice((0, 9, 10, 13, 34, 127, 128, 255, rng.randrange(256)))
    return bytes(changed)


def _insert(content: bytes, _: bytes, rng: random.Random) -> bytes:
    start, _end = _place(content, rng)
    return content[:start] + rng.choice(TOKENS) + content[start:]


def _replace(content: bytes, _: bytes, rng: random.Random) -> bytes:
    start, end = _place(content, rng)
    return content[:start] + rng.choice(TOKENS) + content[end:]


def _delete(content: bytes, _: bytes, rng: random.Random) -> bytes:
    start, end = _place(content, rng)
    return content[:start] + content[end:]


def _truncate(content: bytes, _: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _repeat(content: bytes, _: bytes, rng: random.Random) -> bytes:
    start, end = _place(content, rng)
    times = rng.choice((2, 3, 100, 5000))
    return content[:start] + content[start:end] * times + content[end:]


def _splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    return content[: _place(content, rng)[0]] + other[_place(other, rng)[0] :]


def _number(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """A number written in digits becomes another one."""
    found = list(re.finditer(rb"\d+", content))
    if not found:
        return content
    match = rng.choice(found)
    number = str(rng.choice((*NUMBERS, -1, 10**30))).encode()
    return content[: match.start()] + number + content[match.end() :]


def _binary_number(content: bytes, _: bytes, rng: random.Random) -> bytes:
    width = rng.choice((1, 2, 4, 8))
    # Headers and footers hold the sizes.
    place = rng.choice((rng.randrange(64), len(content) - rng.randrange(64), rng.randrange(len(content) + 1)))
    start = max(0, place // width * width)
    number = (rng.choice(NUMBERS) % 2 ** (8 * width)).to_bytes(width, rng.choice(("little", "big")))
    return content[:start] + number + content[start + width :]


def _lines(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Lines change places, or end otherwise."""
    lines = content.split(b"\n")
    if rng.random() < 0.5:
        rng.shuffle(lines)
        return b"\n".join(lines)
    return b"".join(line + rng.choice((b"\n", b"\r\n", b"\r", b"", b"\n\n")) for line in lines)


def _encode(content: bytes, _: bytes, rng: random.Random) -> bytes:
    return content.decode(errors="replace").encode(rng.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7")))


CHANGES: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _set_byte,
    _insert,
    _insert,
    _replace,
    _delete,
    _truncate,
    _repeat,
    _splice,
    _number,
    _binary_number,
    _lines,
    _encode,
)


def _mutated_json(content: bytes, rng: random.Random) -> bytes:
    """A value of a tree, or a tree of the lines, becomes another one."""
    lines = content.splitlines() if content.count(b"\n{") else [content]
    number = rng.randrange(len(lines))
    try:
        tree = json.loads(lines[number])
    except ValueError:
        return content
    for _ in range(rng.choice((1, 1, 2, 4))):
        tree = _changed_tree(tree, rng)
    text = json.dumps(tree)
    if rng.random() < 0.05:  # the same key twice
        text = text.replace("{", '{"a": 1, "a": 2, ', 1)
    if rng.random() < 0.02:
        depth = rng.choice((100, 1000, 100_000))
        text = "[" * depth + text + "]" * depth
    lines[number] = text.encode()
    return b"\n".join(lines)


def _changed_tree(node: object, rng: random.Random) -> object:
    if isinstance(node, dict) and node and rng.random() < 0.8:
        key = rng.choice(list(node))
        what = rng.random()
        if what < 0.1:
            return {name: value for name, value in node.items() if name != key}
        if what < 0.2:
            return {rng.choice(KEYS) if name == key else name: value for name, value in node.items()}
        if what < 0.3:
            return {**node, rng.choice(KEYS): rng.choice(VALUES)}
        return {**node, key: _changed_tree(node[key], rng)}
    if isinstance(node, list) and node and rng.random() < 0.8:
        at = rng.randrange(len(node))
        what = rng.random()
        if what < 0.2:
            return node[:at] + node[at + 1 :]
        if what < 0.3:
            return node * rng.choice((2, 50))
        return [*node[:at], _changed_tree(node[at], rng), *node[at + 1 :]]
    if isinstance(node, int) and rng.random() < 0.5:
        return rng.choice((*NUMBERS, -1, node + 1, node - 1, node * 1000, float(node)))
    return rng.choice(VALUES)
