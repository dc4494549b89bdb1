"""What a model folder says beside its weights: the files that sentence-transformers keeps there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError
from mlembed.locate import is_package_name, locate_package

POOLINGS = ("mean", "cls", "max")
# Classic boolean keys of 1_Pooling/config.json -> our names.
CLASSIC_POOLING = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*/config.json", "*/model.safetensors"]
HUB_FILES_IGNORED = ["onnx/*", "openvino/*", "*/*.onnx"]


@dataclass(frozen=True)
class DenseFolder:
    """A dense layer in a model folder.

    Args:
        path: folder with config.json and model.safetensors.
        in_features: width of what it takes.
        out_features: width of what it gives.
        bias: whether it adds a bias.
        activation: `identity` or `tanh`.
    """

    path: Path
    in_features: int
    out_features: int
    bias: bool
    activation: str


@dataclass(frozen=True)
class FolderLayout:
    """How the vectors of tokens become the vector of a sentence.

    Args:
        pooling: `mean`, `cls` or `max`; None where the folder does not say.
        dense: the layers after pooling, in order.
        normalize: whether the result has length 1.
        max_length: tokens; None where the folder does not say.
        lower_case: whether text is lower-cased before the tokenizer gets it.
    """

    pooling: str | None = None
    dense: tuple[DenseFolder, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False


def model_folder(name: str, *, key: str) -> Path:
    """The local folder of a model.

    Args:
        name: a folder, `package:<module>/<path>`, or the name of a model on the hub (fetched, or found in its cache;
            HF_HUB_OFFLINE is honored).
        key: the configuration key, for messages.

    Raises:
        ConfigError: when there is no such model.
    """
    if is_package_name(name):
        folder = locate_package(name)
    elif Path(name).exists():
        folder = Path(name)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ConfigError(f"{key}: there is no folder {name}")
    else:
        folder = _from_hub(name, key=key)
    if not (folder / "config.json").is_file():
        student = folder / "student"
        hint = f"; did you mean {student}?" if student.is_dir() else ""
        raise ConfigError(f"{key}: {folder} is not a model folder: there is no config.json in it{hint}")
    return folder


def _from_hub(name: str, *, key: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, ignore_patterns=HUB_FILES_IGNORED))
    except HFValidationError as error:
        raise ConfigError(f"{key}: {name} is neither a folder nor a name on the hub") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"{key}: {name} is not a folder, and it cannot be fetched from the hub ({type(error).__name__}: {reason}). "
            "Give the path of a model folder, or package:<module>/<path> for one inside an installed package."
        ) from error


def read_layout(folder: Path) -> FolderLayout:
    """Read modules.json and the files that it names.

    Raises:
        ConfigError: when the folder has a part that mlembed does not know; it would give other vectors than the folder's.
    """
    max_length, lower_case = _sentence_settings(folder)
    if not (folder / "modules.json").is_file():
        return FolderLayout(max_length=max_length)
    pooling: str | None = None
    dense: list[DenseFolder] = []
    normalize = False
    for module in _json(folder / "modules.json"):
        kind = str(module.get("type", "")).rpartition(".")[2]
        path = _inside(folder, str(module.get("path", "")))
        if kind == "Pooling":
            pooling = _pooling(path)
        elif kind == "Dense":
            dense.append(_dense(path))
        elif kind == "Normalize":
            normalize = True
        elif kind not in ("Transformer", "Dropout"):
            raise ConfigError(f"{folder}/modules.json: mlembed does not know the module {module.get('type')}")
    return FolderLayout(pooling, tuple(dense), normalize, max_length, lower_case)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def _inside(folder: Path, path: str) -> Path:
    """A folder comes from somebody: its modules must lie in it."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ConfigError(f"{folder}/modules.json: the path {path!r} leads out of the model folder")
    return folder / path


def _sentence_settings(folder: Path) -> tuple[int | None, bool]:
    path = folder / "sentence_bert_config.json"
    settings = _json(path) if path.is_file() else {}
    return settings.get("max_seq_length"), bool(settings.get("do_lower_case"))


def _pooling(path: Path) -> str:
    settings = _json(path / "config.json")
    compact = settings.get("pooling_mode")
    modes = [compact] if isinstance(compact, str) else list(compact or [])
    modes = modes or [name for key, name in CLASSIC_POOLING.items() if settings.get(key)]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ConfigError(
            f"{path}/config.json: pooling {' + '.join(modes) or 'none'} is not one of {', '.join(POOLINGS)}"
        )
    return str(modes[0])


def _dense(path: Path) -> DenseFolder:
    settings = _json(path / "config.json")
    activation = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2].lower()
    if activation not in ("identity", "tanh"):
        raise ConfigError(f"{path}/config.json: the activation {activation} is not one of identity, tanh")
    if settings.get("use_residual"):
        raise ConfigError(f"{path}/config.json: dense layers with a residual are not known to mlembed")
    return DenseFolder(
        path=path,
        in_features=int(settings["in_features"]),
        out_features=int(settings["out_features"]),
        bias=bool(settings.get("bias", True)),
        activation=activation,
    )
