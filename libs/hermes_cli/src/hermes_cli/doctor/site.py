"""What the doctor looks at: the environment, and what `hermes up` says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hermes_cli.connection import environment_of, home_of, run_document


@dataclass(frozen=True, slots=True)
class Site:
    """``environment`` reaches the servers (it holds secrets); ``run`` is what runs here, empty when nothing does."""

    home: Path
    environment: Mapping[str, str] = field(repr=False)
    run: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Site":
        """Return the site that the environment and the home describe."""
        return cls(home_of(given), environment_of(given), run_document(given))

    @property
    def monitoring(self) -> str | None:
        """The monitoring page of the embedded bus, if it says where that is."""
        addresses = self.run.get("addresses")
        text = str(addresses.get("nats", "")) if isinstance(addresses, dict) else ""
        return next((part.strip() for part in text.split(",") if part.strip().startswith("http://")), None)

    def has(self, name: str) -> bool:
        """Whether a variable is known, given or of the running all-in-one."""
        return bool(self.environment.get(name))
