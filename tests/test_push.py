"""`mlembed push`: only a whole export goes to the hub, and what is in the way is named; the hub is the test's own."""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from toys import write_toy_model

from mlembed.cli import main


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("push")
    write_toy_model(folder / "model")
    assert main(["export", str(folder / "model"), "--output", str(folder / "out")]) == 0
    return folder / "out"


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "out"))


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's protocol that an upload of small files needs."""

    uploaded: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []
    status: ClassVar[int] = 200

    def _answer(self, content: Any, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self._answer({"sha": "0" * 40, "id": "me/toy", "siblings": [], "name": "me"})

    def do_POST(self) -> None:
        self.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.status != 200:
            self._answer({"error": "no"}, self.status)
        elif self.path.endswith("/repos/create"):
            self._answer({"url": f"http://{self.headers['Host']}/me/toy", "id": "1", "name": "me/toy"})
        elif "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in files]
            self._answer({"files": modes})
        elif "/commit/" in self.path:
            for line in body.decode().splitlines():
                one = json.loads(line)
                if one["key"] == "file":
                    self.uploaded[one["value"]["path"]] = base64.b64decode(one["value"]["content"])
            address = f"http://{self.headers['Host']}/me/toy/commit/{'0' * 40}"
            self._answer({"success": True, "commitOid": "0" * 40, "commitUrl": address, "hookOutput": ""})
        else:
            self._answer({})

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.uploaded, Hub.asked, Hub.status = {}, [], 200
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def push(endpoint: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In a new process: the address of the hub is read when its library is imported."""
    known = {"HF_ENDPOINT": endpoint, "HF_TOKEN": "toy", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-m", "mlembed", "push", *words],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | known | environment,
    )


def test_the_hub_gets_every_file_as_it_is(folder: Path, hub: str) -> None:
    (folder / "LICENSE").write_text("mine\n")
    done = push(hub, str(folder), "me/toy", "--revision", "v1", "--private")
    assert done.returncode == 0, done.stderr
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert Hub.uploaded == files and "1_Pooling/config.json" in files and "LICENSE" in files
    assert done.stdout.splitlines()[-1].startswith(f"{len(files)} files, 0.1 MB -> {hub}/me/toy")
    assert any("/branch/v1" in path for path in Hub.asked) and any(path.endswith("/commit/v1") for path in Hub.asked)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (401, 2, "does not know the token, or there is none: set HF_TOKEN"),
        pytest.param(403, 2, "your token may not write to me/toy", marks=pytest.mark.slow),
        pytest.param(500, 4, "refuses the upload to me/toy", marks=pytest.mark.slow),
    ],
)
def test_a_refusal_is_explained(folder: Path, hub: str, status: int, code: int, message: str) -> None:
    Hub.status = status
    done = push(hub, str(folder), "me/toy")
    assert done.returncode == code and message in done.stderr and "Traceback" not in done.stderr
    assert Hub.uploaded == {}


@pytest.mark.slow
def test_a_hub_that_is_not_there(folder: Path) -> None:
    done = push("http://127.0.0.1:9", str(folder), "me/toy")
    assert done.returncode == 4 and "http://127.0.0.1:9 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_lists_the_files(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(exported), "me/toy", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert {line.split()[-1] for line in lines[:-1]} == files
    assert lines[-1] == f"{len(files)} files, 0.1 MB; nothing was uploaded (--dry-run)"


def test_what_is_no_whole_export_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(message: str, repository: str = "me/toy") -> None:
        assert main(["push", str(folder), repository, "--dry-run"]) == 2
        said = capsys.readouterr()
        assert message in said.err and said.out == ""

    refused("a repository of the hub has the form NAME/REPOSITORY", "toy")
    (folder / ".env").write_text("TOKEN=1\n")
    refused(f"{folder / '.env'} is not of the export")
    (folder / ".env").unlink()
    (folder / "checkpoints" / "step-1").mkdir(parents=True)
    (folder / "checkpoints" / "step-1" / "optimizer.safetensors").touch()
    refused("optimizer.safetensors is not of the export")
    shutil.rmtree(folder / "checkpoints")
    (folder / "LICENSE").symlink_to("/etc/hostname")
    refused("is a symbolic link")
    (folder / "LICENSE").unlink()
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:-1] + b"x")
    refused(f"{folder / 'model.safetensors'} was changed after the export")
    (folder / "model.safetensors").unlink()
    refused(f"{folder / 'model.safetensors'} is missing")
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "README.md").write_text("# edited by its owner\n")
    assert main(["push", str(folder), "me/toy", "--dry-run"]) == 0
    capsys.readouterr()
    manifest = json.loads((folder / "export.json").read_text())
    manifest["files"]["../secret"] = {"bytes": 1, "sha256": "0"}
    (folder / "export.json").write_text(json.dumps(manifest))
    refused("leads out of the folder")
    (folder / "export.json").unlink()
    refused("is not an exported folder")


def test_a_run_is_not_pushed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_toy_model(tmp_path / "run" / "student")
    for name in ("run", "run/student"):
        assert main(["push", str(tmp_path / name), "me/toy", "--dry-run"]) == 2
        assert "is not an exported folder" in capsys.readouterr().err
    assert main(["push", str(tmp_path / "nowhere"), "me/toy"]) == 2
    assert "there is no such folder" in capsys.readouterr().err
