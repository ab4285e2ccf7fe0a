"""Check the built pages: every link resolves, nothing unrendered or failed is left, nothing is asked from outside, none is too large.

Sphinx catches bad references but not dead hrefs, raw LaTeX in an output, or a script from somebody else's server.
Run it as ``python -m ternary_lib.links SITE``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LINKS = {"href", "src", "poster", "data", "action"}
FETCHED = {"script", "img", "iframe", "source", "video", "audio", "embed", "object", "track"}  # asked for on opening the page
VERBATIM = {"script", "style", "pre", "code", "textarea", "template", "svg"}  # text that is not prose
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
OUTSIDE_SCHEMES = {"http", "https", "mailto"}
LEFTOVERS = {
    "raw LaTeX": re.compile(r"\$\$|\\\(|\\\[|\\(?:frac|sum|mathbb|mathrm|text|begin|end|left|right|rho|tau|beta|mu|sigma|lambda)\b"),
    "an unrendered role or directive": re.compile(
        r"\{(?:glue|numref|eq|cite|ref|doc|func|value|math|download)(?::\w+)?\}`|:::\s*\{|```\s*\{"
    ),
    "an error output": re.compile(r"Traceback \(most recent call last\)"),
    "a glue that found nothing": re.compile(r"glue (?:key|data) .{0,80}(?:not found|missing)|Key `?[\w.]+`? not found"),
}
LARGEST = 2_000_000  # bytes of a page, before the scripts that all pages share
ERROR_CLASSES = {"system-message", "problematic", "traceback"}


@dataclass
class Page:
    """What one HTML page holds: its ids, its links (line, tag, address), its faults (line, text)."""

    ids: set[str] = field(default_factory=set)
    links: list[tuple[int, str, str]] = field(default_factory=list)
    faults: list[tuple[int, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    """Collect a `Page`; text inside scripts, code and typeset mathematics is not prose."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open: list[tuple[str, bool]] = []  # the open tags, and whether text inside them is verbatim

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values, line = dict(attrs), self.getpos()[0]
        classes = set((values.get("class") or "").split())
        self.page.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        self.page.links += [(line, tag, values[key].strip()) for key in LINKS & values.keys() if values[key]]
        self.page.links += [(line, tag, address) for address in _srcset(values.get("srcset"))]
        if tag == "img" and values.get("alt") is None:
            self.page.faults.append((line, f"image without alt text: {values.get('src')}"))
        for name in sorted(ERROR_CLASSES & classes):
            self.page.faults.append((line, f"an error output (class {name})"))
        if tag not in VOID:
            outer = bool(self._open) and self._open[-1][1]
            self._open.append((tag, outer or tag in VERBATIM or "math" in classes))

    def handle_endtag(self, tag: str) -> None:
        if any(tag == name for name, _ in self._open):
            while self._open.pop()[0] != tag:
                pass

    def handle_data(self, data: str) -> None:
        verbatim = bool(self._open) and self._open[-1][1]
        for what, pattern in LEFTOVERS.items():
            if what == "an error output" or not verbatim:
                for match in pattern.finditer(data):
                    line = self.getpos()[0] + data.count("\n", 0, match.start())
                    shown = " ".join(data[max(0, match.start() - 20) : match.end() + 30].split())
                    if not (what == "an error output" and self._inside("script")):
                        self.page.faults.append((line, f"{what}: …{shown}…"))
                    break

    def _inside(self, tag: str) -> bool:
        return any(name == tag for name, _ in self._open)


def _srcset(value: str | None) -> list[str]:
    return [part.split()[0] for part in (value or "").split(",") if part.strip() and not part.strip().startswith("data:")]


def read_page(path: Path) -> Page:
    """Parse one HTML file."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    return reader.page


def check_site(site: Path, offline: bool = True) -> list[str]:
    """Every fault of the built pages, one line each; empty when all is well.

    ``offline`` also reports each script, image or style sheet that a page would ask from another host on opening.
    Pages under ``_downloads`` stand alone: their mathematics is typeset when they are opened, so LaTeX in them is no fault, and the
    script that does it is part of them, so their size is none either.
    """
    paths = [p for p in sorted(site.rglob("*.html")) if "_static" not in p.relative_to(site).parts]
    if not paths:
        return [f"{site}: no HTML page to check"]
    pages = {path.resolve(): read_page(path) for path in paths}
    faults = []
    for path in paths:
        page, shown = pages[path.resolve()], path.relative_to(site)
        alone = shown.parts[0] == "_downloads"
        if path.stat().st_size > LARGEST and not alone:
            faults.append(f"{shown}: {path.stat().st_size:,} bytes: a page may have {LARGEST:,}")
        faults += [f"{shown}:{line}: {text}" for line, text in page.faults if not (alone and text.startswith("raw LaTeX"))]
        faults += [f"{shown}:{line}: {fault}" for line, fault in _check_links(path, page, pages, site, offline)]
    return faults


def _check_links(path: Path, page: Page, pages: dict[Path, Page], site: Path, offline: bool) -> Iterator[tuple[int, str]]:
    for line, tag, address in page.links:
        try:
            parts = urlsplit(address)
        except ValueError:
            yield line, f"malformed address: {address}"
            continue
        if parts.scheme in {"data", "javascript", "about", "blob"}:
            continue
        if parts.scheme or parts.netloc:
            if fault := _check_outside(tag, address, parts, offline):
                yield line, fault
        elif fault := _check_inside(path, page, parts.path, parts.fragment, pages, site):
            yield line, f"{fault}: {address}"


def _check_outside(tag: str, address: str, parts: object, offline: bool) -> str | None:
    scheme, host = parts.scheme, parts.netloc
    if scheme and scheme not in OUTSIDE_SCHEMES:
        return f"unknown kind of address: {address}"
    if scheme != "mailto" and ("." not in host or " " in address):
        return f"malformed address: {address}"
    if offline and tag in FETCHED | {"link"}:
        return f"asked from outside on opening the page: {address}"
    return None


def _check_inside(path: Path, page: Page, target: str, fragment: str, pages: dict[Path, Page], site: Path) -> str | None:
    found = (path.parent / unquote(target)).resolve() if target else path.resolve()
    if target.startswith("/") or not found.is_relative_to(site.resolve()):
        return "leads out of the book"
    if found.is_dir():
        found /= "index.html"
    if not found.is_file():
        return "dead link"
    known = pages.get(found)
    if fragment and known is not None and unquote(fragment) not in known.ids:
        return "dead anchor"
    return None


def main(arguments: list[str]) -> int:
    """Print every fault; exit status 1 if there is one, 2 if there is nothing to check."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: python -m ternary_lib.links SITE (a folder of built pages)", file=sys.stderr)
        return 2
    faults = check_site(Path(arguments[0]))
    print("\n".join(faults) or f"{arguments[0]}: every link resolves, nothing is left over")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
