"""tbd"""

from typing import Any


class LabelCheck:
    """t"""

    def __init__(self, looks: Any, *, folder: Any) -> None: ...
    def look(self) -> None:
        """t"""
