"""The model card of a model with labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mlembed.data.languages import primary_subtag

PIPELINES = {
    "classification": "text-classification",
    "token_classification": "token-classification",
    "pair": "text-classification",
}


def label_card(
    *,
    task: str,
    languages: Sequence[str],
    labels: Sequence[str],
    teacher: str | None,
    counts: Mapping[str, Any],
    results: str = "",
) -> str:
    """The text of README.md.

    Args:
        task: its name in a configuration.
        languages: that it was tested in.
        labels: that it answers with.
        teacher: the teacher's name; None where there was none.
        counts: rows used, by part and language.
        results: a report in Markdown; empty before the end of a run.
    """
    codes = dict.fromkeys(primary_subtag(code) for code in languages)
    # Quoted: YAML reads no as false.
    head = "".join(f'- "{code}"\n' for code in codes if re.fullmatch(r"[a-z]{2,3}", code))
    pipeline = PIPELINES[task]
    example = '{"text": "a sentence", "text_pair": "another"}' if task == "pair" else '"a sentence"'
    distilled = f" It was distilled from `{teacher}`." if teacher else ""
    rows = "; ".join(
        f"{part} {about['rows']}" for part, about in counts.items() if isinstance(about, Mapping) and "rows" in about
    )
    parts = [
        f"---\nlanguage:\n{head}library_name: transformers\npipeline_tag: {pipeline}\n"
        "tags:\n- knowledge-distillation\n---\n",
        "# A multilingual model with labels\n",
        f"It answers in {', '.join(languages)} with: {', '.join(labels)}.{distilled} Trained with mlembed.\n",
        f'```python\nfrom transformers import pipeline\n\nmodel = pipeline("{pipeline}", "path/of/this/folder")\n'
        f"print(model({example}))\n```\n",
        f"Rows used: {rows}.\n",
        results,
    ]
    return "\n".join(part for part in parts if part)
