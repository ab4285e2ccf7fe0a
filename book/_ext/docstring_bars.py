"""Show docstrings as they are written: ``|x|`` is an absolute value there, not the substitution that reStructuredText takes it for."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def keep_bars(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Escape every bar outside of ``literals`` and examples."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = line.split("``")
            lines[i] = "``".join(part if k % 2 else part.replace("|", "\\|") for k, part in enumerate(parts))


def setup(app: Sphinx) -> dict[str, Any]:
    """Run on every docstring that autodoc reads."""
    app.connect("autodoc-process-docstring", keep_bars)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
