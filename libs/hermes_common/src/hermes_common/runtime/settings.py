"""Settings from the environment: the only configuration a service has of its own (docs: README of each service)."""

import os
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

_COLLECTOR = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class RuntimeSettings(BaseSettings):
    """What every service needs."""

    model_config = SettingsConfigDict(env_prefix="HERMES_", extra="ignore", env_ignore_empty=True)

    nats_url: SecretStr = SecretStr("nats://127.0.0.1:4222")
    """Servers of the bus, separated by commas; may hold user and password."""
    nats_replicas: Annotated[int, Field(ge=1, le=5)] = 1
    """Replicas of streams and buckets: 3 in a cluster of three or more."""
    nats_events_max_bytes: Annotated[int, Field(ge=-1)] = -1
    """Bound of the event stream in bytes, at which publishers are refused and nothing is dropped. -1: the server's."""
    nats_events_max_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """How long events stay on the bus; the bookkeeper keeps them for good."""
    health_host: str = "127.0.0.1"
    health_port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port of /livez, /readyz and /metrics; 0 takes any free one and logs it."""
    traces_endpoint: str | None = None
    """Address of a collector that traces are sent to over OTLP/HTTP, such as ``http://127.0.0.1:4318``; without it
    ``OTEL_EXPORTER_OTLP_ENDPOINT``. Without either there are no traces."""
    log_format: Literal["auto", "console", "json"] = "auto"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def collects_traces(self) -> bool:
        """Whether the environment names a collector, in our words or in those of OpenTelemetry."""
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return False
        return self.traces_endpoint is not None or any(os.environ.get(name) for name in _COLLECTOR)


class ObjectStoreSettings(BaseSettings):
    """Where the pixels are."""

    model_config = SettingsConfigDict(env_prefix="HERMES_", extra="ignore", env_ignore_empty=True)

    object_store: str = "s3"
    """``s3``, or ``file:///absolute/path`` for a site of one machine."""
    s3_endpoint: str = "127.0.0.1:9000"
    s3_access_key: SecretStr = SecretStr("")
    s3_secret_key: SecretStr = SecretStr("")
    s3_bucket: str = "hermes"
    s3_region: str = "us-east-1"
    s3_secure: bool = False


class SealingSettings(BaseSettings):
    """The key of the secrets in the configuration."""

    model_config = SettingsConfigDict(env_prefix="HERMES_", extra="ignore", env_ignore_empty=True)

    secret_key: SecretStr = SecretStr("")
    """At least 32 characters, the same for web, dispatcher and bookkeeper; without it there can be no secrets."""


class DatabaseSettings(BaseSettings):
    """Where the history is."""

    model_config = SettingsConfigDict(env_prefix="HERMES_", extra="ignore", env_ignore_empty=True)

    database_url: SecretStr = SecretStr("postgresql+psycopg2://hermes@127.0.0.1:5432/hermes")
    """SQLAlchemy URL."""


def explain(error: ValidationError) -> str:
    """Return what is wrong with the environment, one line a variable, without the values."""
    lines = ["The environment is not usable:"]
    for problem in error.errors(include_url=False, include_context=False, include_input=False):
        name = "HERMES_" + "_".join(str(part) for part in problem["loc"]).upper()
        lines.append(f"  {name}: {problem['msg']}")
    return "\n".join(lines)
