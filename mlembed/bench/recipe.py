"""The multilingual distillation recipe that sentence-transformers publishes, as a process: `python -m ... JOB.json`.

Recipe: https://sbert.net/examples/sentence_transformer/training/multilingual/README.html (`make_multilingual.py`): the
teacher encodes the source of every pair through `datasets.map`; each pair is a row of two texts with one label; a data
set a language, in batches of one language; MSELoss over both columns. Only evaluation and checkpoints are left out, and
both models run in the precision that the job names.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MSELoss
from sentence_transformers.sentence_transformer.trainer import SentenceTransformerTrainer
from sentence_transformers.sentence_transformer.training_args import SentenceTransformerTrainingArguments
from torch import Tensor

# As published: sentences that the teacher's `map` is given at once.
MAP_BATCH = 30_000


def main(job: dict[str, Any]) -> dict[str, Any]:
    """Train, save the student, and return what to note.

    Args:
        job: names of files and settings; see `peers.run_peer`.

    Returns:
        `began` (seconds since 1970), `seconds` by part, and `batches` as `[texts, tokens, tokens with padding]`.
    """
    began, clock = time.time(), [time.perf_counter()]
    seconds: dict[str, float] = {}

    def end(part: str) -> None:
        clock.append(time.perf_counter())
        seconds[part] = clock[-1] - clock[-2]

    teacher = SentenceTransformer(job["teacher"], device=job["device"])
    if job["teacher_max_length"] is not None:
        teacher.max_seq_length = job["teacher_max_length"]
    student = SentenceTransformer(job["student"], device=job["device"])
    student.max_seq_length = job["max_length"]
    pairs = _pairs(Path(job["train"]))
    end("loading")

    def label(batch: dict[str, list[str]]) -> dict[str, Any]:
        return {**batch, "label": teacher.encode(batch["english"], batch_size=job["batch_size"])}

    pairs = pairs.map(label, batched=True, batch_size=MAP_BATCH)
    end("teacher")
    batches: list[tuple[int, Tensor, int]] = []

    def count(module: Any, arguments: tuple[Any, ...]) -> None:
        # Not as numbers yet: on a GPU that would wait for it.
        mask_BT = arguments[0]["attention_mask"]
        batches.append((len(mask_BT), mask_BT.sum(), mask_BT.numel()))

    counting = student.register_forward_pre_hook(count)
    trainer = SentenceTransformerTrainer(
        model=student, args=_arguments(job), train_dataset=pairs, loss=MSELoss(model=student)
    )
    trainer.train()
    counting.remove()
    end("training")
    student.save(job["output"])
    end("saving")
    return {
        "began": began,
        "seconds": seconds,
        "batches": [[texts, int(tokens), padded] for texts, tokens, padded in batches],
    }


def _pairs(path: Path) -> DatasetDict:
    """A data set a language."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows[row["lang"]].append({"english": row["source"], "non_english": row["target"]})
    return DatasetDict({language: Dataset.from_list(pairs) for language, pairs in rows.items()})


def _arguments(job: dict[str, Any]) -> SentenceTransformerTrainingArguments:
    return SentenceTransformerTrainingArguments(
        output_dir=job["output"],
        num_train_epochs=job["epochs"],
        per_device_train_batch_size=job["batch_size"],
        warmup_steps=job["warmup"],
        learning_rate=job["lr"],
        bf16=job["precision"] == "bf16",
        fp16=job["precision"] == "fp16",
        use_cpu=job["device"] == "cpu",
        seed=job["seed"],
        save_strategy="no",
        logging_steps=100,
        report_to="none",
        disable_tqdm=True,
    )


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    noted = main(asked)
    Path(asked["result"]).write_text(json.dumps(noted), encoding="utf-8")
