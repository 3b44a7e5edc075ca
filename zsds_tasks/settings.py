"""Where this installation keeps things: environment variables to one frozen `Settings`.

Every variable starts with ``ZSDS_``. Nothing else in the package reads the environment, and nothing here
has side effects: no folder is made by importing or by reading settings.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from zsds_tasks.errors import ConfigurationError

REPOSITORY = Path(__file__).resolve().parents[1]


class Settings(BaseSettings):
    """One installation, as its environment describes it."""

    model_config = SettingsConfigDict(env_prefix="ZSDS_", frozen=True, extra="ignore")

    var: Path = Field(REPOSITORY / "var", description="everything an installation writes, by default")
    root: str = Field("", description="archive and lakehouse: a folder or an s3:// URI; default <var>/zsds")
    incoming: Path | None = Field(None, description="where the camera delivers; default <var>/incoming")
    truth: Path | None = Field(None, description="simulated truth, read by scoring only; default <var>/truth")
    catalogs: str = Field(
        "", description="reference catalogues (HATS): folder or URI; default <var>/catalogs"
    )
    include: Path = Field(REPOSITORY / "include", description="declarations: cameras, tables, suites")
    camera: str = Field("mini", description="name of a file in include/config/cameras")
    grace_minutes: float = Field(20.0, ge=0, description="wait this long for missing CCDs of an exposure")
    workers: int = Field(0, ge=0, description="parallel workers; 0 means one per core")
    ray_address: str = Field("", description="join this Ray cluster; empty starts a local one when needed")
    s3_endpoint: str = Field("", description="S3 endpoint URL; empty means the provider's own")
    s3_region: str = Field("us-east-1", description="S3 region")
    s3_key: SecretStr = Field(SecretStr(""), description="S3 access key; empty means the default chain")
    s3_secret: SecretStr = Field(SecretStr(""), description="S3 secret key")
    outbox: Path | None = Field(None, description="alerts that wait for the broker; default <var>/outbox")
    kafka_bootstrap_servers: str = Field(
        "", description="Kafka brokers, host:port with commas between; empty means alerts stay in the outbox"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to talk to the brokers"
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="how to prove who we are, with SASL_..."
    )
    kafka_sasl_username: str = Field("", description="who we are, with SASL_...")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="its password")
    kafka_ca_file: Path | None = Field(
        None, description="certificates to trust, with ..._SSL; default the system's"
    )

    @property
    def root_uri(self) -> str:
        """The lakehouse root as given, or ``<var>/zsds``; no trailing slash."""
        return (self.root or str(self.var / "zsds")).rstrip("/")

    @property
    def catalogs_uri(self) -> str:
        """Where the reference catalogues (Gaia, Pan-STARRS, asteroid orbits) are; no trailing slash."""
        return (self.catalogs or str(self.var / "catalogs")).rstrip("/")

    @property
    def incoming_folder(self) -> Path:
        """Where the camera delivers raw files."""
        return self.incoming or self.var / "incoming"

    @property
    def outbox_folder(self) -> Path:
        """Where alert packets wait until a broker has confirmed them."""
        return self.outbox or self.var / "outbox"

    @property
    def truth_folder(self) -> Path:
        """Where the simulator writes what it planted."""
        return self.truth or self.var / "truth"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """Read the environment once; tests call ``load_settings.cache_clear()``.

    Raises
    ------
    ConfigurationError
        If a variable has an impossible value; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        wrong = "; ".join(
            f"ZSDS_{str(e['loc'][0]).upper()}={e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigurationError(wrong, subject="environment", remedy="correct or unset it") from error
