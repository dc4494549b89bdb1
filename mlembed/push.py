"""`mlembed push`: upload an exported folder to the hub; with a dry run that lists the files and asks nobody."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from mlembed.errors import ConfigError, MlembedError, ResourceError

REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code.

    Args:
        words: the command line after `push`.

    Raises:
        ConfigError: the folder is no export, or not whole; or the hub refuses name or token.
        ResourceError: the hub cannot be reached.
    """
    options = _parse(words)
    folder = Path(options.folder).expanduser()
    if not REPOSITORY.fullmatch(options.repository):
        raise ConfigError(f"{options.repository}: a repository of the hub has the form NAME/REPOSITORY")
    if folder.is_file():
        raise ConfigError(f"{folder}: this is a file; give the folder that mlembed export has written")
    if not folder.is_dir():
        raise ConfigError(f"{folder}: there is no such folder")
    from mlembed.export.manifest import exported_files

    files = exported_files(folder)
    total = 0
    for path in files:
        size = path.stat().st_size
        total += size
        print(f"{size / 1e6:10.2f} MB  {path.relative_to(folder).as_posix()}")
    what = f"{len(files)} files, {total / 1e6:.1f} MB"
    if options.dry_run:
        print(f"{what}; nothing was uploaded (--dry-run)")
        return 0
    address = _upload(folder, files, options)
    print(f"{what} -> {address}")
    return 0


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mlembed push",
        description="Upload a folder that mlembed export wrote to the hub (HF_ENDPOINT, or huggingface.co), with the "
        "token of HF_TOKEN or of `hf auth login`. Edit README.md before, where the licence is left to you.",
    )
    parser.add_argument("folder", help="a folder of mlembed export")
    parser.add_argument("repository", help="NAME/REPOSITORY; it is made where it is not there")
    parser.add_argument("--private", action="store_true", help="make the repository a private one, where it is made")
    parser.add_argument("--revision", metavar="BRANCH", help="a branch, made where it is not there (default: main)")
    parser.add_argument("--message", metavar="TEXT", help="of the commit (default: Upload of an export)")
    parser.add_argument("--dry-run", action="store_true", help="check the folder and list its files; ask nobody")
    return parser.parse_args(words)


def _upload(folder: Path, files: Sequence[Path], options: argparse.Namespace) -> str:
    """Make the repository and upload the files; returns its address.

    Raises:
        ConfigError: the hub refuses.
        ResourceError: it cannot be reached, or fails.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi(library_name="mlembed")
    repository, where = options.repository, HfApi().endpoint
    try:
        address = api.create_repo(repository, private=options.private, exist_ok=True)
        if options.revision is not None:
            api.create_branch(repository, branch=options.revision, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=options.revision,
            commit_message=options.message or "Upload of an export",
            # Only what was looked at: another program may have put something there since.
            allow_patterns=[_literally(path.relative_to(folder).as_posix()) for path in files],
        )
    except LocalTokenNotFoundError as error:
        raise ConfigError(f"{where} asks who you are: set HF_TOKEN, or run `hf auth login`") from error
    except HfHubHTTPError as error:
        raise _refusal(error, repository=repository, where=where) from error
    except Exception as error:  # no connection, no answer in time: of the library below the hub's
        raise ResourceError(f"{where} cannot be reached: {_first_line(error)}") from error
    return str(address)


def _refusal(error: Exception, *, repository: str, where: str) -> MlembedError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status == 401:
        return ConfigError(f"{where} does not know the token, or there is none: set HF_TOKEN, or run `hf auth login`")
    if status == 403:
        return ConfigError(
            f"{where}: your token may not write to {repository}; give it the right to write, or use your own name"
        )
    if status == 404:
        return ConfigError(f"{where} has no {repository}, or does not show it to your token")
    return ResourceError(f"{where} refuses the upload to {repository}: {_first_line(error)}")


def _literally(name: str) -> str:
    """A name as a pattern that nothing else fits."""
    return re.sub(r"([*?\[])", r"[\1]", name)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
