"""How a person wants pages to look: theme, times, whether names of patients are shown. Kept in a cookie."""

from dataclasses import dataclass
from typing import Final

THEMES: Final = ("system", "light", "dark")
TIMES: Final = ("utc", "local", "relative")
NAMES: Final = ("shown", "masked")
COOKIE: Final = "hermes-view"

PERSONAL: Final = ("Patient", "OtherPatient", "ResponsiblePerson", "MothersMaiden", "MilitaryRank", "InsurancePlan")
_HIDDEN: Final = "\u2022\u2022\u2022"


@dataclass(frozen=True, slots=True)
class View:
    """What was chosen; every value is one of those above."""

    theme: str = THEMES[0]
    times: str = TIMES[0]
    names: str = NAMES[0]

    @property
    def masks(self) -> bool:
        """Whether names of patients are masked."""
        return self.names == "masked"

    def person(self, text: str) -> str:
        """Return a patient's name or id as it may be shown: whole, or its beginnings (``DOE^JANE``: ``D••• J•••``)."""
        if not self.masks or not text:
            return text
        parts = [part for part in text.replace("^", " ").replace("=", " ").split() if part]
        return " ".join(part[0] + _HIDDEN for part in parts[:3]) or _HIDDEN

    def values(self, name: str, values: list[str]) -> list[str]:
        """Return the values of a tag, or of a clause of a rule about it, as they may be shown."""
        if self.masks and any(word in name for word in PERSONAL):
            return [_HIDDEN for _ in values]
        return values


def parse_view(text: str | None) -> View:
    """Return what a cookie says; what it does not say, or says wrongly, is the default."""
    parts = (text or "").split(".")
    if len(parts) != 3:
        return View()
    theme, times, names = parts
    return View(
        theme if theme in THEMES else THEMES[0],
        times if times in TIMES else TIMES[0],
        names if names in NAMES else NAMES[0],
    )
