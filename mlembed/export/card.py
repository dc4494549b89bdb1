"""The model card: README.md of an exported student."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mlembed.data.languages import primary_subtag


def model_card(
    *, languages: list[str], teacher: str, counts: Mapping[str, Any], results: str = "", source_language: str = "en"
) -> str:
    """The text of README.md.

    Args:
        languages: target languages.
        teacher: the teacher's name.
        counts: rows used for training, by language.
        results: a report in Markdown; empty before the end of a run.
        source_language: the teacher's.
    """
    codes = dict.fromkeys(primary_subtag(code) for code in [source_language, *languages])
    # Quoted: YAML reads no as false.
    head = "".join(f'- "{code}"\n' for code in codes if re.fullmatch(r"[a-z]{2,3}", code))
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
