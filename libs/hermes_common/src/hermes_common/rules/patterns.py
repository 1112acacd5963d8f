"""Regular expressions, by RE2: the time to search is proportional to the text, whatever the pattern."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import re2

MAX_MEMORY = 1 << 18
"""Bytes that a compiled pattern may take."""

MAX_PATTERNS = 32
MAX_LENGTH = 1024
"""Patterns in a rule, and the sum of their characters. RE2 searches in linear time but takes up to 0.1 ms to compile a
character such as ``\\pL``, and 1 ms a pattern as large as the memory allows: this keeps a rule under 50 ms."""
_SMALL = 500
"""Instructions of a compiled pattern up to which it is compiled a second time, to a set: that takes time, too."""


@lru_cache(maxsize=1024)
def compile_pattern(pattern: str, ignore_case: bool) -> Any:
    """Return the compiled pattern; raise ``re2.error`` if it is not one or is too large.

    It searches UTF-8: for text the wrapper of RE2 converts every offset, which takes longer than the search.
    """
    return re2.compile(pattern.encode(), _options(ignore_case))


@lru_cache(maxsize=1024)
def searcher(pattern: str, ignore_case: bool) -> Callable[[bytes], object]:
    """Return what says whether a pattern is found in UTF-8, by a true or false value; raise as :func:`compile_pattern`.

    A small pattern is searched as a set of one, which says only that it is found and not where, in a third of the time.
    RE2 refuses to make a set whose automaton could run out of memory in a search, so what is made always answers.
    """
    compiled = compile_pattern(pattern, ignore_case)
    if compiled.programsize > _SMALL:
        return compiled.search  # type: ignore[no-any-return]
    alone = re2.Set.SearchSet(_options(ignore_case))
    alone.Add(pattern.encode())
    alone.Compile()
    return alone.Match  # type: ignore[no-any-return]


def _options(ignore_case: bool) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    options.never_capture = True
    options.case_sensitive = not ignore_case
    return options


def pattern_problem(pattern: str, ignore_case: bool) -> str | None:
    """Return why ``pattern`` cannot be used, None if it can."""
    if not pattern:
        return "the pattern is empty"
    try:
        compile_pattern(pattern, ignore_case)
    except re2.error as exc:
        reason = exc.args[0] if exc.args else "not a pattern"
        return f"not a pattern of RE2: {reason.decode(errors='replace') if isinstance(reason, bytes) else reason}"
    return None
