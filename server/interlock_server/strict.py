"""Reading files that people write: YAML or JSON into frozen, typed settings. Unknown and repeated keys are errors.

Every message names the file and the field. Nothing else in the project parses such files.
"""

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from interlock_server.errors import ConfigError


class Settings(BaseModel):
    """The base of everything that is read from a file: frozen, no unknown keys, no NaN, no guessing of types.

    Errors do not show what was read: it may be a golden exchange.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


_S = TypeVar("_S", bound=Settings)

PLAINER = {
    "extra_forbidden": "there is no such setting",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "float_type": "must be a number (YAML reads 1e-3 as text: write 0.001)",
}
"""Pydantic's type of error -> words for people who know neither pydantic nor Python."""


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe YAML that refuses a key twice in one mapping, of which plain YAML keeps the last one silently."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> Mapping[str, Any]:
    """The mapping in a JSON or YAML file, by its suffix; raises ConfigError naming the file and the line."""
    try:
        text = path.read_text(encoding="utf-8")
        # YAML 1.1 reads JSON's 1e-06 as a string, so JSON goes to its own reader.
        content = json.loads(text, object_pairs_hook=_unique) if path.suffix == ".json" else _load_yaml(text)
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {error.strerror}") from error
    except RecursionError:  # of a trace that is as deep nobody can make sense
        raise ConfigError(f"{path.name}: is nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path.name}: {_complaint(error)}") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path.name}: must be a mapping")
    return content


def _load_yaml(text: str) -> Any:
    return yaml.load(text, Loader=_UniqueKeyLoader)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ValueError(f"the key {twice[0]!r} stands twice")
    return dict(pairs)


def _complaint(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    if isinstance(error, yaml.reader.ReaderError):
        return f"holds the character U+{error.character:04X}, which YAML does not allow"
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    return str(error)


def validate(schema: type[_S], content: object, source: str) -> _S:
    """The settings; raises ConfigError with one line per field that is wrong."""
    try:
        return schema.model_validate(content)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{source}: {_describe(item)}" for item in error.errors())) from error


def _describe(item: Any) -> str:
    field = ".".join(str(part) for part in item["loc"]).removesuffix(".[key]")
    message = PLAINER.get(item["type"], item["msg"].removeprefix("Value error, "))
    return ": ".join(filter(None, [field, f"{message[:1].lower()}{message[1:]}"]))
