"""The model card: README.md of an exported student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(*, languages: list[str], teacher: str, counts: Mapping[str, Any], results: str = "") -> str:
    """The text of README.md.

    Args:
        languages: target languages.
        teacher: the teacher's name.
        counts: rows used for training, by language.
        results: a report in Markdown; empty before the end of a run.
    """
    codes = [code for code in dict.fromkeys(["en", *languages]) if code.isalpha() and len(code) == 2]
    head = "".join(f"- {code}\n" for code in codes)
    trained = ", ".join(f"{language} {count}" for language, count in counts.get("languages", {}).items())
    parts = [
        f"---\nlanguage:\n{head}library_name: sentence-transformers\npipeline_tag: sentence-similarity\n"
        "tags:\n- sentence-transformers\n- feature-extraction\n- knowledge-distillation\n---\n",
        "# A multilingual sentence encoder\n",
        f"It answers sentences in {', '.join(languages)} with the vectors that the teacher `{teacher}` has for their "
        "translations. Trained by knowledge distillation with mlembed.\n",
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        'model = SentenceTransformer("path/of/this/folder")\nvectors = model.encode(["a sentence"])\n```\n',
        f"Training pairs: {trained}.\n",
        results,
    ]
    return "\n".join(part for part in parts if part)
