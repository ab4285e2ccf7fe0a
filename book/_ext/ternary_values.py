"""A Sphinx role for measured values: {value}`headline.a.coverage .2%` reads book/generated/values.json.

No result is typed into a page by hand; a value that does not exist is a warning, and the book is built with warnings
as errors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxRole

VALUES = Path("book") / "generated" / "values.json"


def look_up(values: Any, dotted: str) -> Any:
    """The value at a dotted key; keys may themselves hold dots (``final.a.coverage.argmax.195000``).

    Raises:
        KeyError: there is none.
    """
    if not dotted:
        return values
    if isinstance(values, dict):
        parts = dotted.split(".")
        for end in range(1, len(parts) + 1):
            key = ".".join(parts[:end])
            if key in values:
                try:
                    return look_up(values[key], ".".join(parts[end:]))
                except KeyError:
                    continue
    raise KeyError(dotted)


class ValueRole(SphinxRole):
    """{value}`key` or {value}`key format`, the format as in Python's format()."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The formatted value as text, or a problematic node with a warning."""
        dotted, _, spec = self.text.strip().partition(" ")
        path = Path(self.env.srcdir) / VALUES
        self.env.note_dependency(str(path))
        try:
            value = look_up(json.loads(path.read_text(encoding="utf-8")), dotted)
            return [nodes.Text(format(value, spec.strip()))], []
        except (OSError, KeyError, ValueError, TypeError) as error:
            message = self.inliner.reporter.error(f"value {self.text!r}: {type(error).__name__}: {error}", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the role."""
    app.add_role("value", ValueRole())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
