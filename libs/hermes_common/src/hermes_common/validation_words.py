"""What a validator says of a value, in words for the person who typed it.

The validator speaks of tags, patterns and inputs; who edits a target or calls the API should read what is expected.
A message that is not known here is returned as it is: it is never hidden.
"""

import re
from collections.abc import Callable

_Rewrite = Callable[[re.Match[str]], str]

# The patterns of the models of targets, sources and policies; one that is not here is shown as it is.
_CHARACTERS = {
    r"^[A-Za-z0-9_.:-]+$": "letters, digits and . _ : - only",
    r"^[A-Za-z0-9._:-]+$": "letters, digits and . _ : - only",
    r"^[ -\[\]-~]+$": "ASCII characters only, without backslash",
    r"^[A-Z0-9_ ]{1,16}$": "up to 16 capital letters, digits, spaces and _",
    r"^[^\x00-\x1f\x7f]*$": "one line without control characters",
    r"^[^:]*$": "no colon",
    r"^\S{1,64}$": "1 to 64 characters without spaces",
    r"^[A-Za-z0-9_.-]+(:[0-9]{1,5})?$": "a name or an address, and a port if needed, as in host:9000",
    r"^[a-z0-9-]+$": "small letters, digits and - only",
    r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$": "3 to 63 small letters, digits, dots and hyphens, none of both at the ends",
    r"^\d+(\.\d+)?\s*[smhd]$": "a number and a unit, as in 30 s, 10 m, 2 h or 7 d",
    r"^[0-9a-f-]{36}$": "an id of 36 characters, as the lists show it",
}


def plain_words(message: str) -> str:
    """Return a validator's message in plain words; one that is not known is returned unchanged."""
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    for pattern, rewrite in _REWRITES:
        if found := pattern.fullmatch(message):
            return rewrite(found)
    return message


def _says(text: str) -> _Rewrite:
    return lambda found: text.format(*found.groups())


def _characters(found: re.Match[str]) -> str:
    pattern = found[1].replace("\\\\", "\\")
    known = _CHARACTERS.get(pattern)
    return f"allowed are {known}" if known else f"it does not have the form {pattern}"


_REWRITES: tuple[tuple[re.Pattern[str], _Rewrite], ...] = tuple(
    (re.compile(pattern, re.DOTALL), rewrite)
    for pattern, rewrite in (
        (r"String should match pattern '(.*)'", _characters),
        (
            r"Input tag '(.*)' found using '(.*)' does not match any of the expected tags: (.*)",
            _says("there is no {1} '{0}'; it is one of {2}"),
        ),
        (r"Unable to extract tag using discriminator '(.*)'", _says("'{0}' is missing: it says of what kind this is")),
        (r"Invalid enum value '(.*)'", _says("'{0}' is not one of the words that are known here")),
        (r"Input should be ('.*' or '.*'|'[^']*')", _says("it has to be {0}")),
        (r"Field required", _says("this is missing")),
        (r"Extra inputs are not permitted", _says("there is no such field; take it out, or correct its name")),
        (r"Input should be a valid integer(?:, .*)?", _says("it has to be a whole number")),
        (r"Input should be a valid number(?:, .*)?", _says("it has to be a number")),
        (r"Input should be a valid boolean(?:, .*)?", _says("it has to be true or false")),
        (r"Input should be a valid string", _says("it has to be a text")),
        (r"Input should be a valid (?:list|tuple|array)", _says("it has to be a list")),
        (r"Input should be a valid dictionary.*", _says("it has to be an object with named fields")),
        (r"Input should be greater than or equal to (.*)", _says("it has to be {0} or more")),
        (r"Input should be less than or equal to (.*)", _says("it has to be {0} or less")),
        (r"Input should be greater than (.*)", _says("it has to be more than {0}")),
        (r"Input should be less than (.*)", _says("it has to be less than {0}")),
        (r"String should have at least (.*) characters?", _says("it has to have at least {0} characters")),
        (r"String should have at most (.*) characters?", _says("it may have at most {0} characters")),
    )
)
