"""Leave out of every page the scripts it has no use for.

Jupyter Book always loads sphinx-thebe, twice, although the book has no live cells: two declarations of the same
constant are an error in every page's console, and the script would come from somebody else's server.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx


def keep_needed(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Drop thebe's scripts and repeated ones from ``script_files``."""
    kept, seen = [], set()
    for script in context.get("script_files", []):
        body = getattr(script, "attributes", {}).get("body") or ""
        key = (str(getattr(script, "filename", script) or ""), body)
        if key not in seen and "thebe" not in key[0] and "THEBE_JS_URL" not in body:
            kept.append(script)
        seen.add(key)
    context["script_files"] = kept


def setup(app: Sphinx) -> dict[str, Any]:
    """Run after every extension that adds scripts."""
    app.connect("html-page-context", keep_needed, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
