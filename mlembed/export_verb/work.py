"""The work of an export, in reading order: the texts it is checked on, the model, the folder, the check, the card."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlembed.errors import ConfigError, DataError
from mlembed.evaluate import resolve_model
from mlembed.export.card import CardFacts, model_card
from mlembed.export.manifest import CARD, write_manifest
from mlembed.export.onnx_graph import require_onnx
from mlembed.export.usage import usage
from mlembed.export_verb.formats import check_format, write_checked
from mlembed.export_verb.pruning import prune, texts_of_files, texts_of_run
from mlembed.export_verb.run import SOURCE, facts_of, test_set, texts_by_language
from mlembed.export_verb.sentences import SENTENCES
from mlembed.export_verb.static import built_in_test, make_static, quality
from mlembed.export_verb.verification import TextOrPair
from mlembed.models.bi_encoder import BiEncoder
from mlembed.models.bi_encoder_folder import has_pair_head, load_bi_encoder
from mlembed.models.classifier import Classifier
from mlembed.models.classifier_folder import has_head, load_any_classifier
from mlembed.models.encoder import Encoder, load_encoder
from mlembed.models.text_model import TextModel
from mlembed.run.directory import CHECKPOINTS, run_of
from mlembed.tasks.held_out import HeldOut

STDIN = "-"
SEED = 42
# Formats that are the whole model folder.
WITH_WEIGHTS = ("sentence-transformers", "transformers")


@dataclass(frozen=True)
class Wanted:
    """What the command line asks for.

    Args:
        model: run, checkpoint or model folder.
        to: the format; None: what suits the model.
        prune: whether tokens are taken away.
        keep_tokens: more tokens that stay.
        texts: files, instead of the run's data.
        column: of these.
        width: of a static model.
    """

    model: str
    to: str | None
    prune: bool
    keep_tokens: int
    texts: list[str] | None
    column: str | None
    width: int | None


@dataclass
class Prepared:
    """A model that is ready to be written.

    Args:
        model: on the CPU.
        to: the format.
        folder: where it was loaded from.
        tokens_before: size of its vocabulary before it was pruned; None: it was not.
        facts: for the card.
        sections: what the card says besides.
        texts: what is compared, by language.
    """

    model: TextModel
    to: str
    folder: Path
    tokens_before: int | None
    facts: CardFacts
    sections: list[str]
    texts: dict[str, list[str]]


def prepare(wanted: Wanted) -> Prepared:
    """Load a model, and make of it what is asked for; nothing is written.

    Raises:
        MlembedError: with a message for the user and an exit code.
    """
    run = run_of(Path(wanted.model))
    needed = _texts(wanted, run=run) if wanted.prune else iter(())
    if (wanted.to or "").startswith("onnx"):
        require_onnx()
    folder = resolve_model(wanted.model, key="model")
    model = _load(folder)
    to = wanted.to or ("transformers" if isinstance(model, Classifier) else "sentence-transformers")
    check_format(model, to=to)
    if isinstance(model, BiEncoder) and to not in WITH_WEIGHTS:
        # Of a graph, or of a table, the head for pairs is no part.
        model = model.reader()
    test = None if run is None else test_set(run, labels=model.head.labels if isinstance(model, Classifier) else ())
    target = Path(wanted.model).expanduser().resolve()
    checkpoint = target.name if run is not None and target.parent.name == CHECKPOINTS else None
    facts = facts_of(run, model, checkpoint=checkpoint)
    before = len(model.tokenizer) if wanted.prune else None
    sections = [prune(model, needed, keep_tokens=wanted.keep_tokens)] if wanted.prune else []
    if to == "static":
        assert isinstance(model, Encoder)
        static = make_static(model, width=wanted.width, texts=_counted_texts(wanted, run=run))
        measured = test if isinstance(test, HeldOut) and test.rows else built_in_test()
        sections.append(quality(model, static, measured, seed=SEED))
        # The report and the limits are those of the model with layers.
        facts = dataclasses.replace(facts, results="", max_length=None)
        model = static
    texts = texts_by_language(test) if test else {language: list(texts) for language, texts in SENTENCES.items()}
    return Prepared(model, to, folder, before, facts, sections, texts)


def export(prepared: Prepared, folder: Path) -> str:
    """Write a folder with its card and list of files, and say what it is.

    Args:
        prepared: the model.
        folder: an existing, empty one, which is thrown away where this raises.

    Raises:
        MlembedError: the tool that the format is for gives other answers than the model.
    """
    model, to = prepared.model, prepared.to
    compared = _compared(prepared)
    check = write_checked(model, folder, to="sentence-transformers" if to == "static" else to, texts=compared)
    print(check.say(), file=sys.stderr)
    checked = f"## Check\n\nExported by `mlembed export --to {to}` and {check.say()}."
    card = model_card(
        prepared.facts,
        to=to,
        usage=usage(model, to=to),
        export="\n\n".join([*prepared.sections, checked]),
    )
    own = prepared.folder / CARD
    if not prepared.facts.command and own.is_file():
        # A model of somebody else: its own card says what is to be said, and this folder is added to it.
        told = own.read_text(encoding="utf-8", errors="replace").rstrip()
        card = "\n\n".join([told, "# This export", usage(model, to=to), *prepared.sections, checked]) + "\n"
    (folder / CARD).write_text(card, encoding="utf-8")
    (folder / CARD).chmod(0o644)
    languages = [language for language in prepared.texts if language != SOURCE]
    write_manifest(folder, {"to": to, "checked": check.to_json(), "languages": languages})
    tokens, size = str(len(model.tokenizer)), f"{_megabytes(folder):.1f} MB"
    if prepared.tokens_before is not None:
        tokens, size = f"{prepared.tokens_before} -> {tokens}", f"{_megabytes(prepared.folder):.1f} -> {size}"
    return f"{tokens} tokens, {size}"


def _compared(prepared: Prepared) -> list[TextOrPair]:
    """Short and long texts of all languages, one that is longer than the model reads, and an empty one."""
    singles = [text for texts in prepared.texts.values() for text in texts]
    long = [" ".join(texts) for texts in prepared.texts.values()]
    model = prepared.model
    if isinstance(model, Classifier) and (prepared.facts.task == "pair" or model.head.problem == "score"):
        return [*zip(singles, [*singles[1:], singles[0]], strict=True), *zip(long, singles, strict=False)]
    one_word = [text.split()[0] for text in singles[:8] if text.split()]
    return [*singles, *long, *one_word, *([] if isinstance(model, Classifier) else [""])]


def _load(folder: Path) -> TextModel:
    """A model with its head, where it has one."""
    model: TextModel
    if has_pair_head(folder):
        model = load_bi_encoder(folder, key="model")
    else:
        model = load_any_classifier(folder, key="model") if has_head(folder) else load_encoder(folder, key="model")
    if not model.tokenizer.is_fast:
        raise ConfigError(
            f"model: the tokenizer in {folder} ({type(model.tokenizer).__name__}) has no tokenizer.json, so that "
            "the model could not be loaded elsewhere; choose one with a fast tokenizer"
        )
    return model


def _texts(wanted: Wanted, *, run: Path | None) -> Iterator[str]:
    """The texts whose tokens are needed; what cannot be read shows at once."""
    if wanted.texts is not None:
        return texts_of_files(wanted.texts, column=wanted.column)
    assert run is not None
    return texts_of_run(run)


def _counted_texts(wanted: Wanted, *, run: Path | None) -> Iterator[str] | None:
    """The texts that tell how frequent tokens are; None where there are none, or standard input has been read."""
    if wanted.texts is not None:
        return None if wanted.prune and STDIN in wanted.texts else texts_of_files(wanted.texts, column=wanted.column)
    try:
        return None if run is None else texts_of_run(run)
    except (ConfigError, DataError):
        print("the run's data cannot be read again; the tokenizer tells how frequent tokens are", file=sys.stderr)
        return None


def _megabytes(folder: Path) -> float:
    """Size of weights and tokenizer."""
    weights = [*folder.glob("*.safetensors"), *folder.glob("*_Dense/*.safetensors"), *folder.glob("*.onnx")]
    return sum(path.stat().st_size for path in [*weights, folder / "tokenizer.json"] if path.is_file()) / 1e6
