"""The scripts for reading offline: fetched once, whole or not at all, with one line where that fails. npm is played by a script."""

import base64
import hashlib
import io
import json
import re
import sys
import tarfile

import pytest

from ternary_lib import vendor
from ternary_lib.config import PROJECT_ROOT
from ternary_lib.vendor import Package, VendorError

NPM = """#!{python}
import json, shutil, sys
from pathlib import Path
here = Path({here!r})
with open(here / "calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if (here / "fails").exists():
    sys.exit("npm error first line\\nnpm error " + (here / "fails").read_text())
to = next(a.partition("=")[2] for a in sys.argv if a.startswith("--pack-destination="))
name = sys.argv[-1].rpartition("@")[0]
for archive in (here / name).glob("*.tgz"):
    shutil.copy(archive, to)
"""


def archive(path, files):
    """An archive as npm makes them, of a folder ``package``; returns its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """A folder that is the registry, with an npm that packs from it; two packages are wanted."""
    here = tmp_path / "npm"
    here.mkdir()
    (here / "npm").write_text(NPM.format(python=sys.executable, here=str(here)))
    (here / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(here))
    one = archive(here / "one" / "one-1.tgz", {"package/a.js": b"let a", "package/more/b.js": b"let b", "package/unwanted.js": b"no"})
    two = archive(here / "two" / "two-2.tgz", {"package/c.wasm": b"\0asm"})
    packages = (Package("one", "1", one, ("a.js", "more/")), Package("two", "2", two, ("c.wasm",), ("c.wasm",)))
    monkeypatch.setattr(vendor, "PACKAGES", packages)
    return here


def test_scripts_are_fetched_once_and_nothing_else_is_kept(npm, tmp_path):
    folder = tmp_path / "static" / "vendor"
    assert vendor.vendor(folder) is True
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["manifest.json", "one/a.js", "one/more/b.js", "two/c.wasm", "two/c.wasm.js"]
    assert (folder / "one" / "a.js").read_bytes() == b"let a"
    assert vendor.vendor(folder) is False
    assert [json.loads(line)[-1] for line in (npm / "calls").read_text().splitlines()] == ["one@1", "two@2"]
    assert [path.name for path in folder.parent.iterdir()] == ["vendor"]


def test_another_list_of_packages_is_fetched_anew(npm, tmp_path, monkeypatch):
    vendor.vendor(tmp_path / "vendor")
    monkeypatch.setattr(vendor, "PACKAGES", vendor.PACKAGES[:1])
    assert vendor.vendor(tmp_path / "vendor") is True
    assert not (tmp_path / "vendor" / "two").exists()


def test_a_failure_leaves_what_there_was(npm, tmp_path, monkeypatch):
    vendor.vendor(tmp_path / "vendor")
    monkeypatch.setattr(vendor, "PACKAGES", vendor.PACKAGES[:1])
    (npm / "fails").write_text("network: no route to the registry")
    with pytest.raises(VendorError, match=r"^npm failed: npm error network: no route to the registry$"):
        vendor.vendor(tmp_path / "vendor")
    assert (tmp_path / "vendor" / "two" / "c.wasm").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["npm", "vendor"]


@pytest.mark.parametrize("count", [0, 2])
def test_no_archive_and_several_are_refused(npm, tmp_path, count):
    (npm / "one" / "one-1.tgz").unlink()
    for k in range(count):
        (npm / "one" / f"{k}.tgz").write_bytes(b"x")
    with pytest.raises(VendorError, match=f"^npm pack one@1 gave {count} archives$"):
        vendor.vendor(tmp_path / "vendor")


def test_an_npm_that_cannot_be_run_and_one_that_takes_too_long(tmp_path, monkeypatch):
    with pytest.raises(VendorError, match=r"^npm failed: "):
        vendor._call([str(tmp_path / "npm")], None)
    monkeypatch.setattr(vendor, "TIMEOUT", 0.1)
    with pytest.raises(VendorError, match="timed out"):
        vendor._call([sys.executable, "-c", "import time; time.sleep(5)"], None)
    monkeypatch.setattr(vendor, "TIMEOUT", 60)
    with pytest.raises(VendorError, match=r"failed: 3$"):
        vendor._call([sys.executable, "-c", "import sys; sys.exit(3)"], None)


def test_without_npm_one_is_installed_beside_this_python(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(vendor.sysconfig, "get_path", lambda _: str(tmp_path / "bin"))
    called = []
    monkeypatch.setattr(vendor, "_call", lambda command, _: called.append(command))
    assert vendor._find_npm() == [str(tmp_path / "bin" / "npm")]
    assert called[0][1:4] == ["-m", "pip", "install"] and called[0][-1] == vendor.NPM_WHEEL
    assert "installing one with pip" in capsys.readouterr().out
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "npm").write_text("")
    assert vendor._find_npm() == [str(tmp_path / "bin" / "npm")] and len(called) == 1, "it is there now"


def test_without_npm_and_pip_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(vendor.sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setattr(vendor.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(VendorError, match=r"^no npm, and no pip to install one with$"):
        vendor._find_npm()


def test_only_the_wanted_files_of_an_archive_are_taken(tmp_path):
    content = {"package/keep/a.js": b"a", "package/other.js": b"b", "package/keep/../../../evil.js": b"c", "../keep/evil.js": b"d"}
    digest = archive(tmp_path / "x.tgz", content)
    vendor.unpack(Package("@scope/x", "1", digest, ("keep/",)), tmp_path / "x.tgz", tmp_path / "out")
    found = sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.js"))
    assert found == ["out/x/keep/a.js", "out/x/keep/evil.js"]  # the second by its own name, inside


def test_an_archive_with_another_hash_is_refused(tmp_path):
    archive(tmp_path / "x.tgz", {"package/keep/a.js": b"a"})
    with pytest.raises(VendorError, match="SHA-256"):
        vendor.unpack(Package("x", "1", "0" * 64, ("keep/",)), tmp_path / "x.tgz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_kept_as_a_script_holds_its_bytes(tmp_path):
    (tmp_path / "a.wasm").write_bytes(bytes(range(256)))
    vendor.embed(tmp_path / "a.wasm")
    script = (tmp_path / "a.wasm.js").read_text()
    name, text = re.search(r'window\.ternaryEmbedded = .*\["(.*)"\] = "(.*)";', script).groups()
    assert name == "a.wasm" and base64.b64decode(text) == bytes(range(256))


def test_the_explorer_asks_for_the_files_that_are_kept_as_scripts():
    script = (PROJECT_ROOT / "book" / "_static" / "explorer.js").read_text(encoding="utf-8")
    (pyodide,) = (package for package in vendor.PACKAGES if package.name == "pyodide")
    assert json.loads(re.search(r"BINARIES = (\[.*?\])", script)[1]) == list(pyodide.embed) and set(pyodide.embed) <= set(pyodide.keep)
