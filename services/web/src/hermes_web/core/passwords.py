"""What an account name and a password must be."""

import re
from functools import cache
from importlib import resources

MINIMUM = 12
MAXIMUM = 256
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,62}")


@cache
def common_passwords() -> frozenset[str]:
    """Return the passwords that are refused because everybody tries them first."""
    text = resources.files("hermes_web").joinpath("data/common-passwords.txt").read_text(encoding="utf-8")
    return frozenset(line.strip().casefold() for line in text.splitlines() if line.strip() and line[0] != "#")


def password_problem(password: str, name: str) -> str | None:
    """Return why a password is not accepted, or None."""
    if len(password) < MINIMUM:
        return f"at least {MINIMUM} characters are needed; several words in a row are easy to remember"
    if len(password) > MAXIMUM:
        return f"at most {MAXIMUM} characters are accepted"
    folded = password.casefold()
    plain = re.sub(r"[\W\d_]+$", "", folded)
    if folded in common_passwords() or plain in common_passwords():
        return "this is one of the passwords that are tried first; choose another"
    if len(set(folded)) < 5:
        return "too few different characters"
    if name and (folded == name.casefold() * (len(folded) // max(len(name), 1)) or folded.startswith(name.casefold())):
        return "it must not begin with the account's name"
    return None


def fold_name(name: str) -> str:
    """Return the form of an account name under which it is stored and looked up."""
    return name.strip().casefold()[:100]


def name_problem(name: str) -> str | None:
    """Return why an account name is not accepted, or None."""
    if _NAME.fullmatch(name):
        return None
    return "use 1 to 63 lower-case letters, digits, dots, hyphens, underscores or @, beginning with a letter or digit"
