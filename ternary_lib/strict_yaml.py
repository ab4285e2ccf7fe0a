"""YAML as written by people and strangers: read safely, refused with one clear line."""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path
from typing import Any

import yaml

LIKE_A_NUMBER = re.compile(r"[-+]?\.?[0-9]")
MAX_PLAIN = 300  # characters of a number: the longest that a double needs are fewer
MAX_FILE_BYTES = 1_000_000  # a configuration is a few kB; anything larger is a mistake or an attack


class InputError(ValueError):
    """Something given from outside cannot be used; the message is one line naming the fault and the fix."""

    def __init__(self, message: object) -> None:
        super().__init__(printable(message))  # what it quotes may be a stranger's

    def _render_traceback_(self) -> list[str]:
        # What a notebook shows of it: the line, without the calls that led to it.
        return [f"{type(self).__name__}: {self}"]


class ConfigError(InputError):
    """A configuration that cannot be used; the message is one line naming the key and what was expected."""


def parse_yaml(text: str) -> Any:
    """Parse YAML safely: no objects, no aliases, no tags, no dates, no repeated keys, and 1e-3 is a number.

    Raises:
        yaml.YAMLError: the text is no such YAML.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except RecursionError:
        raise yaml.YAMLError("expected fewer brackets within each other") from None
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # PyYAML's own, of a scalar it cannot read
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from None


class _StrictLoader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not accepted")
        if getattr(event, "tag", None) not in (None, "!"):
            raise yaml.YAMLError(f"tags ({event.tag[:40]}) are not accepted")
        if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and len(event.value) > MAX_PLAIN and LIKE_A_NUMBER.match(event.value):
            raise yaml.YAMLError(f"{event.value[:20]}…: expected a number of at most {MAX_PLAIN} characters, got {len(event.value)}")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        seen = set()
        for key in (self.construct_object(key, deep=True) for key, _ in node.value):
            if not isinstance(key, str):
                raise yaml.YAMLError(f"key {str(key)[:40]} must be text")
            if key in seen:
                raise yaml.YAMLError(f"key {key[:40]!r} is given twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


# A date is text to whoever reads it into a name, and nothing here takes dates.
_StrictLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


# YAML 1.1 reads 1e-3 as text; YAML 1.2 and every reader expect a number.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+0123456789.")
)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a file that holds one mapping; ConfigError, one line, for anything else."""
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise ConfigError(f"{path}: expected a file")
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes, not a configuration")
        data = parse_yaml(content.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not readable as YAML: {one_line(error)}") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected a mapping of keys to values, got {type(data).__name__}")
    return data


def nearest(word: str, known: list[str]) -> str:
    """The end of an error message: the known name closest to ``word``, or all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f" (known: {', '.join(known)})" if known else ""


def printable(message: object) -> str:
    """``message`` with a line break or a terminal's control sequence spelt out, so that it is shown and not carried out.

    >>> printable("one line\\x1b[2J")
    'one line\\\\x1b[2J'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(message))


def print_error(error: object) -> None:
    """The line that ends a command, whatever the error quotes."""
    print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)


def one_line(message: object) -> str:
    """``message`` with its line breaks gone, at most 300 characters."""
    return " ".join(str(message).split())[:300]
