"""The rule set as a file."""

import json
import sys
from pathlib import Path
from typing import Any

from hermes_cli.errors import CliError, UsageError


def read_rules(file: Path) -> dict[str, Any]:
    """Return the document of a file, of standard input for ``-``; what ``export --json`` wrote is taken too."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise UsageError(f"{file} cannot be read: {problem}") from problem
    try:
        content = json.loads(text)
    except ValueError as problem:
        raise CliError(f"{file} is not JSON: {problem}") from problem
    if isinstance(content, dict) and isinstance(content.get("document"), dict):
        content = content["document"]
    if not isinstance(content, dict) or not isinstance(content.get("rules"), list):
        raise CliError(
            f'{file} is no rule set: it is a JSON object {{"rules": [...]}}; `hermes rules export` shows one'
        )
    return content
