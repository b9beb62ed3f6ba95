"""Where Python would find our packages, told from where they are."""

from __future__ import annotations

import sys
import types
import zipfile

import pytest

import taskbridge_start
from support.process import ROOT
from taskbridge_start import hidden


def test_nothing_is_hidden_here():
    assert hidden("bridge", "workers", "socket_server") is None
    assert hidden("bridge", "workers", folder=ROOT) is None


@pytest.mark.parametrize("name", ["bridge.py", "bridge/__init__.py"])
def test_a_module_or_package_of_a_folder_hides_ours(tmp_path, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("")
    assert str(tmp_path / name.partition("/")[0]) in hidden("workers", "bridge", folder=tmp_path)


def test_a_folder_without_an_init_hides_only_what_a_finder_of_an_editable_install_finds(
    tmp_path, monkeypatch
):
    (tmp_path / "bridge").mkdir()
    monkeypatch.syspath_prepend(str(ROOT))
    assert hidden("bridge", folder=tmp_path) is None
    # Python asks the finder of an editable installation after it has searched the path.
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one not in ("", str(ROOT))])
    assert f"{tmp_path / 'bridge'} hides" in hidden("bridge", folder=tmp_path)


def test_a_package_that_is_imported_already_counts(monkeypatch, tmp_path):
    (tmp_path / "workers.py").write_text("")
    module = types.ModuleType("workers")
    module.__spec__ = taskbridge_start.PathFinder.find_spec("workers", [str(tmp_path)])
    monkeypatch.setitem(sys.modules, "workers", module)
    assert f"{tmp_path / 'workers.py'} hides" in hidden("workers")


def test_a_zip_file_that_has_all_packages_hides_none(tmp_path, monkeypatch):
    archive = tmp_path / "app.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("taskbridge_start", "bridge"):
            file.writestr(f"{name}/__init__.py", "")
    monkeypatch.setattr(taskbridge_start, "HOME", archive)
    assert hidden("bridge", folder=archive) is None
    assert "hides" in hidden("bridge", folder=ROOT)


def test_a_link_to_the_checkout_is_the_checkout(tmp_path):
    (tmp_path / "link").symlink_to(ROOT)
    assert hidden("bridge", folder=tmp_path / "link") is None
