"""Each chapter to take away: a Python script and a stand-alone HTML page, both made by nbconvert.

The chapters are written in MyST, which only Sphinx renders; for the stand-alone page its directives and roles are
turned into plain Markdown first. The page carries its style and MathJax inside, so the one file is readable anywhere.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from ternary_lib.chapters import Layout, write_if_changed

ROLE = re.compile(r"\{(?P<role>[a-z]+(?::[a-z]+)?)\}`(?P<text>[^`]+)`")
FENCE = re.compile(
    r"^(?P<fence>:{3,}|`{3,})\{(?P<name>[\w:-]+)\}[ \t]*(?P<title>.*?)\n(?P<body>.*?)^(?P=fence)[ \t]*$", re.MULTILINE | re.DOTALL
)
TARGET = re.compile(r"^\([\w:-]+\)=[ \t]*\n", re.MULTILINE)
OPTION = re.compile(r"\A(?:[ \t]*:[\w-]+:.*\n)+")
LABEL = re.compile(r"^[ \t]*:label:[ \t]*(\S+)", re.MULTILINE)
LABELLED = re.compile(r"^\$\$(?P<body>[^$]+)\$\$[ \t]*\((?P<label>[\w:-]+)\)", re.MULTILINE)
STYLE = """
body{max-width:52rem;margin:2rem auto;padding:0 1rem;font:1rem/1.6 system-ui,sans-serif;color:#1b1b1b;background:#fff}
pre{overflow-x:auto;padding:.6rem .8rem;background:#8881;border-radius:4px;font-size:.85rem}
table{border-collapse:collapse;display:block;overflow-x:auto}td,th{padding:.2rem .6rem;border-bottom:1px solid #8885}
img,svg{max-width:100%}figure{margin:1em 0}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#16181b}a{color:#8ab4f8}}
"""
WIDGET = "application/vnd.jupyter.widget-view+json"
MATHJAX = "https://cdn.jsdelivr.net/npm/mathjax@3.2.2/es5/tex-svg.js"


def plain_markdown(text: str) -> str:
    """MyST as plain Markdown: what a directive or role says is kept, what only Sphinx can do is left out.

    Example:
        >>> plain_markdown("See {eq}`elbo` and {doc}`the metrics <../metrics>`.")
        'See (elbo) and the metrics.'
    """
    previous = None
    while previous != text:  # directives may lie inside one another
        previous, text = text, FENCE.sub(_directive, text)
    text = LABELLED.sub(lambda match: _equation(match["body"].strip("\n"), match["label"]), text)
    return TARGET.sub("", ROLE.sub(_role, text))


def _directive(match: re.Match[str]) -> str:
    name, title, body = match["name"], match["title"].strip(), OPTION.sub("", match["body"]).strip("\n")
    if name == "math":
        label = LABEL.search(match["body"])
        return _equation(title or body, label[1] if label else None)
    if name.startswith("code"):
        return f"```{title}\n{body}\n```"
    if name in {"dropdown", "toggle"}:
        return f"<details><summary>{html.escape(title) or 'More'}</summary>\n\n{body}\n\n</details>"
    heading = title or name.capitalize()
    return f"**{heading}**\n\n{body}"


def _equation(body: str, label: str | None) -> str:
    return f"$$\n{body} \\tag{{{label}}}\n$$" if label else f"$$\n{body}\n$$"


def _role(match: re.Match[str]) -> str:
    role, text = match["role"], match["text"]
    if role == "math":
        return f"${text}$"
    titled = re.fullmatch(r"(.*?)\s*<[^>]*>", text, re.DOTALL)
    if titled and titled[1]:
        return titled[1]
    return f"({text})" if role in {"eq"} or role.startswith("cite") else text


def make_downloads(layout: Layout, mathjax: Path | None) -> list[str]:
    """Write script and page of every published chapter into the generated folder; the chapters' names.

    ``mathjax`` is the vendored tex-svg.js; without it the pages load MathJax from its network address.
    """
    import nbformat
    from nbconvert import HTMLExporter, PythonExporter
    from nbconvert.preprocessors import TagRemovePreprocessor

    hide = TagRemovePreprocessor(remove_input_tags={"remove-input", "hide-input"}, remove_cell_tags={"remove-cell"})
    names = []
    for path in sorted(layout.pages.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells = [c for c in notebook.cells if c.get("id") != "downloads"]
        _stand_alone(notebook)
        script, _ = PythonExporter().from_notebook_node(notebook)
        write_if_changed(layout.generated / f"{path.stem}.py", script)
        page = HTMLExporter(template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True)
        page.register_preprocessor(hide, enabled=True)
        body, _ = page.from_notebook_node(notebook)
        write_if_changed(layout.generated / f"{path.stem}.html", _page(path.stem, body, mathjax))
        names.append(path.stem)
    write_if_changed(layout.generated / "downloads.md", "\n".join(["| chapter | to take away |", "| --- | --- |", *map(_row, names), ""]))
    return names


def _stand_alone(notebook: Any) -> None:
    """Turn what needs Sphinx or a widget manager into plain Markdown."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = plain_markdown(cell.source)
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET in data:
                data.clear()
                data["text/markdown"] = "*An interactive control stands here in the book and in the running notebook.*"
            elif "text/markdown" in data:
                data["text/markdown"] = plain_markdown(data["text/markdown"])


def _row(name: str) -> str:
    kinds = [("script", f"generated/{name}.py"), ("stand-alone page", f"generated/{name}.html"), ("notebook", f"notebooks/{name}.ipynb")]
    return f"| {{doc}}`notebooks/{name}` | " + " · ".join(f"{{download}}`{kind} <{path}>`" for kind, path in kinds) + " |"


def _page(title: str, body: str, mathjax: Path | None) -> str:
    inline = r"inlineMath:[['$','$'],['\\(','\\)']]"
    settings = f"window.MathJax={{tex:{{{inline},tags:'ams'}},options:{{ignoreHtmlClass:'jp-Cell-inputWrapper|highlight'}}}};"
    script = f"<script>{mathjax.read_text(encoding='utf-8')}</script>" if mathjax else f'<script src="{MATHJAX}"></script>'
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style>'
        f"<script>{settings}</script></head><body>\n{body}\n{script}</body></html>\n"
    )
