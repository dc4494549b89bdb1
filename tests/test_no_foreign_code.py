"""The package has no way to run what a model, a checkpoint or a data file brings along."""

from __future__ import annotations

import ast
from pathlib import Path

import mlembed

FILES = sorted(Path(mlembed.__file__).parent.rglob("*.py"))
FORBIDDEN_CALLS = {"torch.load", "eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path"}
FORBIDDEN_CALLS |= {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load"}
FORBIDDEN_CALLS |= {"instantiate", "hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_method"}
FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal"}
# Options by which a library would unpickle or run what it loads, and the only value that they may have.
OPTIONS = {"trust_remote_code": False, "allow_pickle": False, "weights_only": True, "shell": False}


def offences(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            if ast.unparse(node.func) in FORBIDDEN_CALLS:
                found.append(ast.unparse(node.func))
            for option in node.keywords:
                allowed = OPTIONS.get(option.arg or "")
                if allowed is not None and not (
                    isinstance(option.value, ast.Constant) and option.value.value is allowed
                ):
                    found.append(str(option.arg))
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
            found.append(str(node.module))
    return found


def test_no_file_unpickles_or_runs_text() -> None:
    assert len(FILES) > 70
    assert {str(path): found for path in FILES if (found := offences(path.read_text(encoding="utf-8")))} == {}


def test_what_the_search_finds() -> None:
    for text in (
        "torch.load(p)",
        "import pickle",
        "from joblib import load",
        "f(trust_remote_code=x)",
        "exec('1')",
        "hydra.utils.instantiate(c)",
    ):
        assert offences(text), text
    assert not offences("f(trust_remote_code=False)\nre.compile('x')\nmodel.eval()\njson.load(f)")


def test_every_loader_of_transformers_is_told_not_to_run_code() -> None:
    """Each `from_pretrained` names the option, or takes the dict that does."""
    calls = 0
    for path in FILES:
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.Call):
                continue
            # An embedding's method of this name takes a tensor, not a folder.
            name = ast.unparse(node.func)
            if name.endswith(".from_pretrained") and "Embedding" not in name:
                calls += 1
                unpacked = [ast.unparse(option.value) for option in node.keywords if option.arg is None]
                named = any(option.arg == "trust_remote_code" for option in node.keywords)
                assert named or unpacked == ["safely"], f"{path}:{node.lineno}"
        if "**safely" in source:
            assert 'safely: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}' in source
    assert calls >= 3
