"""Mend what the tools put into every page: scripts that the book has no use for, roles that screen readers reject.

Jupyter Book always loads sphinx-thebe, twice, although the book has no live cells: two declarations of the same
constant are an error in every page's console, and the script would come from somebody else's server. Docutils gives
citations a deprecated role, and their list a role that its children contradict.
"""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

WRONG_ROLES = (
    ('<div role="list" class="citation-list">', '<div class="citation-list">'),
    (' role="doc-biblioentry"', ""),
)


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


def mend_roles(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    """Take the wrong roles out of the page's body."""
    for wrong, right in WRONG_ROLES:
        if "body" in context:
            context["body"] = context["body"].replace(wrong, right)


def setup(app: Sphinx) -> dict[str, Any]:
    """Run after every extension that adds scripts."""
    app.connect("html-page-context", keep_needed, priority=900)
    app.connect("html-page-context", mend_roles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
