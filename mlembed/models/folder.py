"""What a model folder says beside its weights: the files that sentence-transformers keeps there."""

from __future__ import annotations

import difflib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlembed.errors import ConfigError
from mlembed.locate import locate
from mlembed.strict_json import read

log = logging.getLogger("mlembed")

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
# Module -> what it may come after; another order would need another encoder.
MODULE_ORDER: dict[str, tuple[str | None, ...]] = {
    "Transformer": (None,),
    "StaticEmbedding": (None,),
    "Pooling": ("Transformer",),
    "Dense": ("Pooling", "Dense", "StaticEmbedding"),
    "Normalize": ("Pooling", "Dense", "StaticEmbedding"),
}
MODULES = "modules.json"
HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*/config.json", "*/model.safetensors"]
HUB_FILES_IGNORED = ["onnx/*", "openvino/*"]
# A hub that has not answered after this many seconds is taken for none.
HUB_SECONDS = 15
# Settings are a few kilobytes; more is not one of these files, and is not read.
MAX_JSON_BYTES = 1 << 20


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
        static: whether the model is a table of token vectors without layers.
    """

    pooling: str | None = None
    dense: tuple[DenseFolder, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    lower_case: bool = False
    static: bool = False


def model_folder(name: str, *, key: str) -> Path:
    """The local folder of a model.

    Args:
        name: a folder, `package:<module>/<path>`, or the name of a model on the hub (fetched, or found in its cache;
            HF_HUB_OFFLINE is honored).
        key: the configuration key, for messages.

    Raises:
        ConfigError: when there is no such model.
    """
    folder = locate(name)
    if not folder.exists():
        hint = _sibling_hint(folder)
        if hint or name.startswith((".", "/", "~")) or name.count("/") > 1:
            raise ConfigError(f"{key}: there is no folder {name}{hint}")
        folder = _from_hub(name, key=key)
    if not is_model_folder(folder):
        student = folder / "student"
        hint = f"; did you mean {student}?" if student.is_dir() else ""
        raise ConfigError(f"{key}: {folder} is not a model folder: there is no config.json in it{hint}")
    return folder


def _sibling_hint(folder: Path) -> str:
    """`; did you mean x?` for the folder beside it that is called nearly so; empty where there is none."""
    if not folder.parent.is_dir():
        return ""
    beside = [one.name for one in folder.parent.iterdir() if one.is_dir()]
    near = difflib.get_close_matches(folder.name, beside, n=1, cutoff=0.75)
    return f"; did you mean {folder.parent / near[0]}?" if near else ""


def is_model_folder(folder: Path) -> bool:
    """Whether a folder holds a model; a static one has no config.json."""
    return (folder / "config.json").is_file() or (folder / MODULES).is_file()


def architectures(folder: Path) -> tuple[str, ...]:
    """The classes of transformers that a folder says its model is of; none where it says nothing.

    Raises:
        ConfigError: its config.json cannot be read.
    """
    path = folder / "config.json"
    named = _json(path).get("architectures") if path.is_file() else None
    return tuple(str(name) for name in named) if isinstance(named, list) else ()


def _from_hub(name: str, *, key: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError

    patterns: dict[str, Any] = {"allow_patterns": HUB_FILES, "ignore_patterns": HUB_FILES_IGNORED}
    try:
        # Asked first, since the download waits without end for a hub that accepts connections and says nothing.
        HfApi().model_info(name, timeout=HUB_SECONDS)
        return Path(snapshot_download(name, **patterns))
    except HFValidationError as error:
        raise ConfigError(f"{key}: {name} is neither a folder nor a name on the hub") from error
    except Exception as error:  # offline, not found, not allowed, no connection: each library below has its own errors
        problem = error
    try:
        return Path(snapshot_download(name, local_files_only=True, **patterns))
    except Exception as error:
        reason = (str(problem).strip() or "no answer").splitlines()[0]
        raise ConfigError(
            f"{key}: {name} is not a folder, and the hub does not give it ({type(problem).__name__}: {reason}). "
            "Give the path of a model folder, or package:<module>/<path> for one inside an installed package."
        ) from error


def read_layout(folder: Path) -> FolderLayout:
    """Read modules.json and the files that it names.

    Raises:
        ConfigError: when the folder has a part that mlembed does not know, and without which vectors would differ.
    """
    max_length, lower_case = sentence_settings(folder)
    listing = folder / MODULES
    if not listing.is_file():
        return FolderLayout(max_length=max_length, lower_case=lower_case)
    _warn_of_prompt(folder)
    pooling: str | None = None
    dense: list[DenseFolder] = []
    kinds: list[str] = []
    for module in _json(listing, of=list):
        if not isinstance(module, dict):
            raise ConfigError(f"{listing}: {module!r} is not a module")
        kind = str(module.get("type", "")).rpartition(".")[2]
        path = _inside(folder, str(module.get("path", "")))
        if kind == "Dropout":
            continue
        if (before := MODULE_ORDER.get(kind)) is None:
            raise ConfigError(f"{listing}: mlembed does not know the module {module.get('type')}")
        if (kinds[-1] if kinds else None) not in before:
            raise ConfigError(f"{listing}: mlembed does not know {kind} after {kinds[-1] if kinds else 'nothing'}")
        if kind in ("Transformer", "StaticEmbedding") and path != folder:
            raise ConfigError(f"{listing}: the model itself lies in {path}; move its files up into {folder}")
        if kind == "Pooling":
            pooling = _pooling(path)
        elif kind == "Dense":
            dense.append(read_dense(path))
        kinds.append(kind)
    return FolderLayout(
        pooling, tuple(dense), "Normalize" in kinds, max_length, lower_case, static="StaticEmbedding" in kinds
    )


def _json(path: Path, *, of: type = dict) -> Any:
    try:
        value = read(path, most_bytes=MAX_JSON_BYTES)
        if not isinstance(value, of):
            raise ValueError(f"a JSON {'object' if of is dict else 'array'} is expected")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return value


def _warn_of_prompt(folder: Path) -> None:
    path = folder / "config_sentence_transformers.json"
    settings = _json(path) if path.is_file() else {}
    name = settings.get("default_prompt_name")
    prompts = settings.get("prompts")
    if isinstance(name, str) and isinstance(prompts, dict) and prompts.get(name):
        log.warning("%s puts %r before each text; mlembed does not: put it into the data", folder, prompts[name])


def _inside(folder: Path, path: str) -> Path:
    """A folder comes from somebody: its modules must lie in it."""
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ConfigError(f"{folder}/modules.json: the path {path!r} leads out of the model folder")
    return folder / path


def sentence_settings(folder: Path) -> tuple[int | None, bool]:
    """Read sentence_bert_config.json: the most tokens of a text, if it says so, and whether text is lower-cased.

    Raises:
        ConfigError: it cannot be read.
    """
    path = folder / "sentence_bert_config.json"
    settings = _json(path) if path.is_file() else {}
    length = settings.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or length < 1):
        raise ConfigError(f"{path}: max_seq_length {length!r} is not a number of tokens")
    return length, bool(settings.get("do_lower_case"))


def refuse_lower_case(folder: Path, *, key: str) -> None:
    """Refuse a folder whose texts another tool changes before the tokenizer gets them.

    Raises:
        ConfigError: it asks for that.
    """
    if sentence_settings(folder)[1]:
        raise ConfigError(
            f"{key}: {folder} asks for do_lower_case in sentence_bert_config.json; put it in the tokenizer"
        )


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


def read_dense(path: Path) -> DenseFolder:
    """Read the config.json of a dense layer.

    Raises:
        ConfigError: when it is none that mlembed knows.
    """
    settings = _json(path / "config.json")
    activation = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2].lower()
    if activation not in ("identity", "tanh"):
        raise ConfigError(f"{path}/config.json: the activation {activation} is not one of identity, tanh")
    if settings.get("use_residual"):
        raise ConfigError(f"{path}/config.json: dense layers with a residual are not known to mlembed")
    for end in ("module_input_name", "module_output_name"):
        if settings.get(end, "sentence_embedding") != "sentence_embedding":
            raise ConfigError(f"{path}/config.json: a dense layer of {settings[end]} is not known to mlembed")
    width, out_width = settings.get("in_features"), settings.get("out_features")
    if not (isinstance(width, int) and width > 0 and isinstance(out_width, int) and out_width > 0):
        raise ConfigError(f"{path}/config.json: in_features and out_features must be numbers of dimensions")
    return DenseFolder(path, width, out_width, bias=bool(settings.get("bias", True)), activation=activation)
