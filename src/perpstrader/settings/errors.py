"""The one error of this room: every setting that cannot be used, one sentence each, and never a secret."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from perpstrader.domain.errors import PerpsTraderError

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What a value or a path may hold, and what would break a sentence in two or steer a terminal."""


def _escaped(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()


class SettingsError(PerpsTraderError):
    """The settings cannot be used; ``problems`` holds one sentence for each, all found in one reading."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(_CONTROL.sub(_escaped, problem) for problem in problems)
        if len(self.problems) == 1:
            super().__init__(self.problems[0])
        else:
            lines = "\n".join(f"  - {problem}" for problem in self.problems)
            super().__init__(f"{len(self.problems)} settings cannot be used:\n{lines}")
