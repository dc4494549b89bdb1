"""A model with a head: made, loaded, taken over, refused; and its answers to many rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, write_family
from heads import MANY, ONE, SCORE, WORDS_HEAD, bert_tokenizer, toy_classifier, write_classifier
from safetensors.torch import load_file, save_file
from toys import toy_encoder, toy_sentences, write_toy_model
from transformers import SplinterConfig, SplinterModel

from mlembed.compute import Compute
from mlembed.errors import ConfigError
from mlembed.export.classifier import export_classifier
from mlembed.inputs import Inputs, pair_inputs, text_inputs, word_inputs
from mlembed.models.answer import answer
from mlembed.models.classifier import Classifier, Head, take_head, with_head
from mlembed.models.classifier_folder import has_head, load_any_classifier, load_classifier
from mlembed.models.encoder import Encoder, load_encoder, pool

CPU = Compute(torch.device("cpu"), "fp32")
TEXTS = [*toy_sentences(9), "", "the " * 50]
SECONDS = TEXTS[::-1]


def inputs_of(classifier: Classifier) -> Inputs:
    given: dict[str, Any] = {"tokenizer": classifier.tokenizer, "max_length": classifier.max_length}
    if classifier.head.of == "words":
        return word_inputs([text.split() for text in TEXTS], **given)
    return text_inputs(TEXTS, **given)


def logits(classifier: Classifier, inputs: Inputs | None = None, *, batch_tokens: int = 64) -> np.ndarray:
    return answer(classifier, inputs or inputs_of(classifier), compute=CPU, batch_tokens=batch_tokens)


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | values
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not None}))


@pytest.mark.parametrize("head", [ONE, MANY, SCORE, WORDS_HEAD], ids=["one", "many", "score", "words"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_made_written_and_loaded(tmp_path: Path, family: str, head: Head) -> None:
    classifier = toy_classifier(tmp_path / "body", head, family=family)
    (tmp_path / "model").mkdir()
    export_classifier(classifier, tmp_path / "model", card="a toy\n")
    assert has_head(tmp_path / "model") and not has_head(tmp_path / "body")
    for again in (
        load_any_classifier(tmp_path / "model", key="k"),
        load_classifier(tmp_path / "model", key="k", head=head),
    ):
        assert again.head == head and again.max_length == classifier.max_length and again.width == len(head.labels)
        weights = classifier.state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in again.state_dict().items())
        np.testing.assert_allclose(logits(again), logits(classifier), atol=1e-5)
    assert np.nanstd(logits(classifier), axis=0).min() > 1e-3, "answers differ"


def test_answers_are_those_of_each_row_alone(tmp_path: Path) -> None:
    classifier = toy_classifier(tmp_path, ONE).train()
    seen: list[int] = []
    inputs = inputs_of(classifier)
    together = answer(classifier, inputs, compute=CPU, batch_tokens=64, advance=seen.append)
    assert sum(seen) == len(TEXTS) and len(seen) > 2 and classifier.training, "the mode is put back"
    np.testing.assert_allclose(together, logits(classifier, batch_tokens=1), atol=1e-5)
    assert together.dtype == np.float32 and together.shape == (len(TEXTS), 3)


def test_answers_for_words_stand_where_the_words_do(tmp_path: Path) -> None:
    classifier = toy_classifier(tmp_path, WORDS_HEAD)
    found = logits(classifier)
    inputs = inputs_of(classifier)
    assert inputs.first_W is not None
    assert found.shape == (len(inputs.first_W), 5)
    np.testing.assert_array_equal(np.isnan(found).any(axis=1), inputs.first_W < 0)
    assert (inputs.first_W < 0).sum() == 50 - (classifier.max_length - 2)
    with torch.no_grad():
        words = TEXTS[0].split()
        encoded = classifier.tokenizer([words], is_split_into_words=True, return_tensors="pt")
        expected = classifier.transformer(**encoded).logits[0, 1:-1]
    np.testing.assert_allclose(found[: len(words)], expected.numpy(), atol=1e-5)


def test_the_second_text_of_a_pair_has_another_type(tmp_path: Path) -> None:
    classifier = toy_classifier(tmp_path, ONE)
    given: dict[str, Any] = {"tokenizer": classifier.tokenizer, "max_length": 24}
    with torch.no_grad():
        encoded = classifier.tokenizer(TEXTS[:3], SECONDS[:3], padding=True, truncation=True, max_length=24)
        expected = classifier.transformer(**encoded.convert_to_tensors("pt")).logits.numpy()
    inputs = pair_inputs(TEXTS[:3], SECONDS[:3], **given)
    np.testing.assert_allclose(logits(classifier, inputs), expected, atol=1e-5)
    assert inputs.second_N is not None
    without = Inputs(inputs.tokens)
    assert np.abs(logits(classifier, without) - expected).max() > 1e-3


@pytest.mark.parametrize("family", ["distilbert", "mpnet", "modernbert"])
def test_types_of_a_tokenizer_are_kept_from_models_that_know_none(tmp_path: Path, family: str) -> None:
    classifier = toy_classifier(tmp_path, ONE, family=family)
    inputs = pair_inputs(TEXTS, SECONDS, tokenizer=bert_tokenizer(), max_length=24)
    assert inputs.second_N is not None
    np.testing.assert_allclose(logits(classifier, inputs), logits(classifier, Inputs(inputs.tokens)), atol=1e-6)


def test_a_model_with_one_type_is_given_no_second(tmp_path: Path) -> None:
    """XLM-R with the tokenizer of a BERT."""
    encoder = load_encoder(write_toy_model(tmp_path / "toy"), key="k")
    encoder.transformer.config.type_vocab_size = 1
    encoder.transformer.embeddings.token_type_embeddings = torch.nn.Embedding(1, 32)
    classifier = with_head(Encoder(
        encoder.transformer, tokenizer=bert_tokenizer(), pooling="mean", dense=[], normalize=False, max_length=24
    ), ONE, seed=0)  # fmt: skip
    inputs = pair_inputs(TEXTS, SECONDS, tokenizer=classifier.tokenizer, max_length=24)
    assert np.isfinite(logits(classifier, inputs)).all()
    (tmp_path / "model").mkdir()
    export_classifier(classifier, tmp_path / "model", card="a toy\n")
    settings = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert settings["model_input_names"] == ["input_ids", "attention_mask"]


def test_a_new_head_depends_on_its_seed_alone(tmp_path: Path) -> None:
    encoder = toy_encoder()
    first, same, other = (with_head(encoder, ONE, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_allclose(logits(first), logits(same), atol=1e-6)
    assert np.abs(logits(first) - logits(other)).max() > 1e-4
    with torch.no_grad():
        next(first.body.parameters()).add_(1)
    assert not torch.equal(next(first.body.parameters()), next(encoder.transformer.parameters())), "it is a copy"


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert"])
def test_dropout_of_a_head_is_set_and_taken_away(tmp_path: Path, family: str) -> None:
    classifier = toy_classifier(tmp_path / "body", ONE, family=family)
    body = load_encoder(tmp_path / "body", key="k", dropout=0.0)
    noisy = with_head(body, ONE, seed=0, dropout=0.7)
    assert {module.p for module in noisy.modules() if isinstance(module, torch.nn.Dropout)} >= {0.7}
    (tmp_path / "model").mkdir()
    export_classifier(noisy, tmp_path / "model", card="a toy\n")
    without = load_classifier(tmp_path / "model", key="k", head=ONE, dropout=0.0)
    assert {module.p for module in without.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert classifier.head == without.head


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_a_head_is_taken_over_with_its_pooler(tmp_path: Path, family: str) -> None:
    teacher = toy_classifier(tmp_path, ONE, family=family)
    student = toy_classifier(tmp_path, ONE, family=family, seed=5)
    assert np.abs(logits(teacher) - logits(student)).max() > 1e-2
    take_head(student, teacher)
    np.testing.assert_allclose(logits(teacher), logits(student), atol=1e-5)


@pytest.mark.parametrize("family", ["bert", "xlm-roberta", "distilbert", "mpnet", "modernbert", "electra"])
def test_labels_in_another_order_change_nothing_but_the_order(tmp_path: Path, family: str) -> None:
    folder = write_classifier(tmp_path, ONE, family=family)
    order = [2, 0, 1]
    head = Head("text", tuple(ONE.labels[place] for place in order))
    reordered = load_classifier(folder, key="k", head=head)
    expected = logits(load_any_classifier(folder, key="k"))[:, order]
    np.testing.assert_allclose(logits(reordered), expected, atol=1e-5)
    (tmp_path / "again").mkdir()
    export_classifier(reordered, tmp_path / "again", card="a toy\n")
    again = load_any_classifier(tmp_path / "again", key="k")
    assert again.head == head
    np.testing.assert_allclose(logits(again), logits(reordered), atol=1e-5)


def test_what_a_head_answers_is_read_from_a_foreign_config(tmp_path: Path) -> None:
    one, score = write_classifier(tmp_path, ONE), tmp_path / "score"
    score.mkdir()
    change_config(one, problem_type=None, id2label=None, label2id=None, num_labels=3)
    assert load_any_classifier(one, key="k").head == Head("text", ("LABEL_0", "LABEL_1", "LABEL_2"))
    change_config(one, problem_type="multi_label_classification")
    assert load_any_classifier(one, key="k").head.problem == "many"
    change_config(one, problem_type="regression")
    with pytest.raises(ConfigError, match=r"k: .* gives 3 scores at once"):
        load_any_classifier(one, key="k")
    folder = write_classifier(score, SCORE)
    assert "problem_type" not in json.loads((folder / "config.json").read_text()), "pipelines give the sigmoid"
    assert load_any_classifier(folder, key="k").head == SCORE
    change_config(folder, problem_type="regression")
    assert load_any_classifier(folder, key="k").head == SCORE
    assert load_classifier(folder, key="k", head=SCORE).transformer.config.problem_type is None


def test_a_folder_without_a_head_is_told_what_it_is_good_for(tmp_path: Path) -> None:
    folder = write_toy_model(tmp_path / "toy")
    with pytest.raises(
        ConfigError, match=r"k: .* no head for labels or scores \(config.json says BertModel\); mlembed embed"
    ):
        load_any_classifier(folder, key="k")
    with pytest.raises(ConfigError, match=r"4 weights of the model are not in .*toy"):
        load_classifier(folder, key="k", head=ONE)
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config\.json cannot be read"):
        has_head(folder)
    (folder / "config.json").unlink()
    assert not has_head(folder)


def test_what_is_refused(tmp_path: Path) -> None:
    folder = write_classifier(tmp_path, ONE)
    with pytest.raises(
        ConfigError, match=r"answers with 3 labels \(bad, fair, good\), but the data have 2 labels \(a, b\)"
    ):
        load_classifier(folder, key="k", head=Head("text", ("a", "b")))
    with pytest.raises(ConfigError, match=r"teacher.max_length: 30 is more than the model's 24 positions"):
        load_classifier(folder, key="teacher.name", head=ONE, max_length=30)
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')
    with pytest.raises(ConfigError, match="do_lower_case"):
        load_any_classifier(folder, key="k")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 10}')
    assert load_any_classifier(folder, key="k").max_length == 10
    change_config(folder, id2label={"0": "a", "1": "b", "2": "a"})
    with pytest.raises(ConfigError, match="does not name each label once"):
        load_any_classifier(folder, key="k")
    change_config(folder, id2label={"0": "a", "1": "b", "2": "c"})
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"1 weights of the model are not in .* such as classifier.bias"):
        load_any_classifier(folder, key="k")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds an adapter"):
        load_any_classifier(folder, key="k")


def test_an_architecture_without_such_a_head(tmp_path: Path) -> None:
    config = SplinterConfig(
        vocab_size=200, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    encoder = Encoder(
        SplinterModel(config), tokenizer=bert_tokenizer(), pooling="mean", dense=[], normalize=False, max_length=8
    )
    with pytest.raises(ConfigError, match="no such head for a splinter model"):
        with_head(encoder, ONE, seed=0)


def test_a_head_reads_the_mean_of_all_tokens_through_a_layer_that_is_added(tmp_path: Path) -> None:
    folder = write_family(tmp_path / "base", "bert", tokenizer=bert_tokenizer())
    encoder = load_encoder(folder, key="model.student.name").eval()
    ids = torch.tensor([[1, 7, 8, 9, 2], [1, 7, 2, 0, 0]])
    mask = (ids > 0).long()
    with torch.no_grad():
        mean = pool(encoder.transformer(input_ids=ids, attention_mask=mask).last_hidden_state, mask, pooling="mean")
        layers = encoder.transformer.config.num_hidden_layers
        classifier = with_head(encoder, ONE, seed=0, pooling="mean").eval()
        _, read = classifier(ids, mask, with_representation=True)
    wanted = torch.nn.functional.layer_norm(mean, mean.shape[1:])
    assert torch.cosine_similarity(read, wanted).min() > 0.999
    assert classifier.transformer.config.num_hidden_layers == layers + 1
    (tmp_path / "out").mkdir()
    export_classifier(classifier, tmp_path / "out", card="")
    again = load_classifier(tmp_path / "out", key="target", head=ONE).eval()
    with torch.no_grad():
        assert torch.allclose(again(ids, mask), classifier(ids, mask), atol=1e-6)


def test_layers_of_another_kind_are_refused(tmp_path: Path) -> None:
    encoder = load_encoder(write_family(tmp_path, "distilbert"), key="model.student.name")
    with pytest.raises(ConfigError, match=r"task.pooling=mean: layers of a distilbert model .* use task.pooling=cls"):
        with_head(encoder, ONE, seed=0, pooling="mean")
    assert with_head(encoder, ONE, seed=0, pooling="auto").body.config.n_layers == encoder.transformer.config.n_layers
    modern = load_encoder(write_family(tmp_path / "modern", "modernbert"), key="model.student.name")
    assert with_head(modern, ONE, seed=0, pooling="mean").transformer.config.classifier_pooling == "mean"
