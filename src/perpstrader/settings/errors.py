"""The one error of this room: every setting that cannot be used, one sentence each, and never a secret."""

from __future__ import annotations

from collections.abc import Sequence

from perpstrader.domain.errors import PerpsTraderError


class SettingsError(PerpsTraderError):
    """The settings cannot be used; ``problems`` holds one sentence for each, all found in one reading."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        if len(self.problems) == 1:
            super().__init__(self.problems[0])
        else:
            lines = "\n".join(f"  - {problem}" for problem in self.problems)
            super().__init__(f"{len(self.problems)} settings cannot be used:\n{lines}")
