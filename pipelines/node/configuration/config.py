"""The configuration of a node, ``node.yaml``: read, and refused in one line where it is not in order."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ...core.errors import closest, printable
from ...imaging.objects import ObjectFormat, SegType
from .errors import ConfigurationError, in_words

NAME = "node.yaml"
_FOLDER = re.compile(r"^folder\s*:.*$", re.MULTILINE)


def _one_or_several(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _ae_title(value: str) -> str:
    if (
        not 1 <= len(value) <= 16
        or "\\" in value
        or not (value.isascii() and value.isprintable())
        or value != value.strip()
    ):
        raise ValueError("an AE title has 1 to 16 characters (letters, digits, _ and the like)")
    return value


def _peer_address(value: str) -> str:
    try:
        return value if value == "*" else str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError("it must be an IP address, a network such as 10.1.0.0/16, or '*'") from None


def _name(value: str) -> str:
    if not 1 <= len(value) <= 64 or not all(letter.isalnum() or letter in "-_." for letter in value):
        raise ValueError("a name has letters, digits, '-', '_' and '.', at most 64")
    return value


def _from_its_folder(path: Path, info: ValidationInfo) -> Path:
    """What a file says of a path is relative to the folder that it lies in."""
    base: Path | None = (info.context or {}).get("base")
    return path if base is None else (base / path.expanduser()).absolute()


def _bundle(bundle: str, info: ValidationInfo) -> str:
    path = _from_its_folder(Path(bundle), info)
    return str(path) if path.is_dir() or "/" in bundle or "\\" in bundle else bundle


Place = Annotated[Path, AfterValidator(_from_its_folder)]
AeTitle = Annotated[str, AfterValidator(_ae_title)]
Name = Annotated[str, AfterValidator(_name)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_one_or_several)]
Formats = Annotated[tuple[ObjectFormat, ...], BeforeValidator(_one_or_several)]
Places = Annotated[tuple[Place, ...], BeforeValidator(_one_or_several)]
OwnPort = Annotated[int, Field(ge=0, le=65535)]  # 0: any that is free
Port = Annotated[int, Field(ge=1, le=65535)]
Whole = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Days = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Caller(_Part):
    """Who may send to the node: an AE title (``"*"``: any) at an address, in a network (``"*"``: anywhere)."""

    ae_title: AeTitle
    address: Annotated[str, AfterValidator(_peer_address)] = "*"


class Tls(_Part):
    """What the node shows those who call it, PEM files; with ``client_certificate`` they must show one of ``ca``."""

    certificate: Place
    key: Place
    ca: Place | None = None
    client_certificate: bool = True

    @model_validator(mode="after")
    def _has_ca(self) -> Tls:
        if self.client_certificate and self.ca is None:
            raise ValueError("client_certificate needs ca, the authority of the callers' certificates")
        return self


class ClientTls(_Part):
    """What the node trusts (``ca``, else what the system trusts) and shows where it calls, PEM files."""

    ca: Place | None = None
    certificate: Place | None = None
    key: Place | None = None

    @model_validator(mode="after")
    def _has_both(self) -> ClientTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together")
        return self


class Match(_Part):
    """What a series must be like: one of the patterns (``*``, ``?``; upper and lower case are one) of each key."""

    modality: Texts = ()
    sop_class: Texts = ()
    body_part: Texts = ()
    station: Texts = ()
    series_description: Texts = ()


class Rule(_Part):
    """What is done with series: which bundle segments them, what is written, and where it is sent."""

    name: Name
    match: Match = Match()
    bundle: Annotated[str, AfterValidator(_bundle)]
    formats: Annotated[Formats, Field(min_length=1)] = ("seg",)
    seg_type: SegType = "binary"
    settings: dict[str, Any] = {}
    trust: bool = False
    send_to: Texts = ()


class Dicom(_Part):
    """A destination by C-STORE."""

    name: Name
    host: str
    port: Port
    ae_title: AeTitle
    tls: ClientTls | None = None
    commitment: bool = False


class Web(_Part):
    """A destination by STOW-RS; ``token_file`` holds what follows ``Authorization: Bearer``."""

    name: Name
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+")]
    token_file: Place | None = None
    headers: dict[str, str] = {}
    tls: ClientTls | None = None


def _kind(value: Any) -> str:
    has_url = "url" in value if isinstance(value, dict) else isinstance(value, Web)
    return "web" if has_url else "dicom"


Destination = Annotated[Annotated[Dicom, Tag("dicom")] | Annotated[Web, Tag("web")], Discriminator(_kind)]


class Completeness(_Part):
    """When a series is complete."""

    idle_seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30
    at_release: bool = False


class Limits(_Part):
    """What others may use of this machine."""

    associations: Whole = 20
    seconds_silent: Seconds = 30
    instance_mib: Whole = 2048
    free_mib: Annotated[int, Field(ge=0)] = 2048
    job_seconds: Seconds = 1800
    job_mib: Whole = 8192
    intake_seconds: Seconds = 30
    intake_mib: Whole = 1024
    attempts: Whole = 2


class Sending(_Part):
    """How results are sent again that could not be sent, in seconds."""

    pause: Seconds = 10
    longest_pause: Seconds = 3600
    give_up_after: Seconds = 604800


class Retention(_Part):
    """How long files are kept, in days."""

    days_images: Days = 7
    days_results: Days = 30
    days_quarantine: Days = 90


class AuditSettings(_Part):
    """What is written down of what happened."""

    patient_names: bool = False


class Health(_Part):
    """Where the node tells how it is."""

    address: str = "127.0.0.1"
    port: OwnPort = 11180


class NodeConfig(_Part):
    """The configuration of a node; what each key means stands in ``templates/node.yaml``."""

    folder: Place
    ae_title: AeTitle = "DELINEATE"
    address: str = "0.0.0.0"
    port: OwnPort = 11112
    callers: tuple[Caller, ...] = ()
    tls: Tls | None = None
    watch: Places = ()
    rules: tuple[Rule, ...] = ()
    destinations: tuple[Destination, ...] = ()
    completeness: Completeness = Completeness()
    limits: Limits = Limits()
    sending: Sending = Sending()
    retention: Retention = Retention()
    audit: AuditSettings = AuditSettings()
    health: Health = Health()

    @model_validator(mode="after")
    def _agrees(self) -> NodeConfig:
        known = [destination.name for destination in self.destinations]
        problems = [*_twice("rules", [rule.name for rule in self.rules]), *_twice("destinations", known)]
        for number, rule in enumerate(self.rules):
            for name in rule.send_to:
                if name not in known:
                    hint = closest(name, known) or f"there are: {', '.join(known) or 'none'}"
                    problems.append(f"rules[{number}].send_to: no destination is called {name!r}; {hint}")
        if self.port and self.port == self.health.port:
            problems.append(f"health.port: is {self.port}, as port is; two services need two ports")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def rule(self, name: str | None) -> Rule | None:
        """The rule of that name; ``None`` where there is none any more."""
        return next((rule for rule in self.rules if rule.name == name), None)

    def destination(self, name: str) -> Dicom | Web | None:
        """The destination of that name; ``None`` where there is none any more."""
        return next((each for each in self.destinations if each.name == name), None)


def _twice(key: str, names: Sequence[str]) -> list[str]:
    several = [(name, times) for name, times in Counter(names).items() if times > 1]
    return [f"{key}: {times} are called {name!r}; each needs a name of its own" for name, times in several]


def read_config(path: str | Path) -> NodeConfig:
    """Read the configuration of a node; what it says of paths is relative to the folder that it lies in.

    Args:
        path: the file, or a folder with a ``node.yaml``.

    Raises:
        ConfigurationError: it cannot be read, or is not in order; in one line file, key, what was seen and is allowed.
    """
    file = file_of(path)
    try:
        content = YAML(typ="safe", pure=True).load(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ConfigurationError(file, "has no keys; 'delineate node init DIR' writes one with all of them")
        content = {key: value for key, value in content.items() if value is not None}  # all below it is a comment
        return NodeConfig.model_validate(content, context={"base": file.parent.absolute()})
    except FileNotFoundError as error:
        raise ConfigurationError(file, "there is no such file; 'delineate node init DIR' writes one") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(file, "is no UTF-8 text; save it as such") from error
    except YAMLError as error:
        raise ConfigurationError(file, _yaml_problem(error)) from error
    except ValidationError as error:
        raise ConfigurationError(file, *in_words(error, NodeConfig)) from error


def file_of(path: str | Path) -> Path:
    """The configuration that is named by itself or by its folder."""
    return Path(path) / NAME if Path(path).is_dir() else Path(path)


def read_folder(path: str | Path) -> NodeConfig:
    """Read the key ``folder`` alone, which is a line of its own, whatever is wrong with the rest.

    Raises:
        OSError: the file cannot be read.
        ValueError: there is no such line, or it is not in order.
        YAMLError: the same.
    """
    file = file_of(path)
    line = _FOLDER.search(file.read_text(encoding="utf-8", errors="replace"))
    content = YAML(typ="safe", pure=True).load(line[0]) if line else {}
    return NodeConfig.model_validate(content, context={"base": file.parent.absolute()})


def _yaml_problem(error: YAMLError) -> str:
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return f"is no YAML ({printable(' '.join(str(error).split())[:200])})"
    where = f"line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    return f"{where}: {printable(' '.join(str(error.problem).split())[:200])}; correct the YAML there"
