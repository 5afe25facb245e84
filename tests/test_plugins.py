"""The plug-in door: packages that are only pretended, written as entry points on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slmtk import plugins
from slmtk.errors import MissingDependencyError, PluginError


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pretend that a package is installed: its modules' sources and its entry points of slmtk.metrics."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def pretend(package: str, points: dict[str, str], modules: dict[str, str]) -> None:
        info = tmp_path / f"{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in points.items())
        (info / "entry_points.txt").write_text(f"[slmtk.metrics]\n{lines}")
        for module, source in modules.items():
            (tmp_path / f"{module}.py").write_text(source)

    return pretend


def test_listing_plug_ins_imports_none_of_them(install):
    install(
        "pretend_a", {"zeta": "pretend_zeta:it", "alpha": "pretend_alpha:it"}, {"pretend_alpha": "raise SystemExit"}
    )
    assert [name for name in plugins.available("slmtk.metrics") if name in ("zeta", "alpha")] == ["alpha", "zeta"]
    assert "pretend_alpha" not in sys.modules


def test_a_plug_in_is_loaded_by_its_name(install):
    install("pretend_b", {"answer": "pretend_answer:it"}, {"pretend_answer": "it = 42"})
    assert plugins.load("slmtk.metrics", "answer") == 42


def test_an_unknown_name_is_told_its_nearest_neighbour(install):
    install("pretend_c", {"loudness": "pretend_loudness:it"}, {})
    with pytest.raises(
        PluginError, match=r"no metrics plug-in 'loudnes'; did you mean 'loudness'\? available: .*loudness"
    ):
        plugins.load("slmtk.metrics", "loudnes")


def test_two_packages_with_one_name_clash_and_both_are_named(install):
    install("pretend_d", {"same": "pretend_d:one"}, {})
    install("pretend_e", {"same": "pretend_e:two"}, {})
    with pytest.raises(PluginError, match=r"called 'same': pretend_d:one and pretend_e:two; uninstall one"):
        plugins.available("slmtk.metrics")


def test_one_package_seen_twice_is_no_clash(install):
    install("pretend_f", {"twice": "pretend_f:it"}, {})
    install("pretend_f_again", {"twice": "pretend_f:it"}, {})
    assert plugins.available("slmtk.metrics")["twice"].value == "pretend_f:it"


@pytest.mark.parametrize(
    ("imported", "mend"),
    [
        ("pocketsphinx_absent", "pip install 'pocketsphinx_absent'"),
        ("ray.absent", "pip install 'slmtk\\[ray\\]'"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(install, imported, mend):
    install("pretend_g", {"needy": "pretend_needy:it"}, {"pretend_needy": f"import {imported}\nit = 1"})
    with pytest.raises(MissingDependencyError, match=rf"'needy' needs the package '{imported.split('.')[0]}.*{mend}"):
        plugins.load("slmtk.metrics", "needy")


def test_missing_pkg_resources_is_mended_by_an_older_setuptools():
    assert plugins.mended_by("pkg_resources") == "setuptools<81"


@pytest.mark.parametrize("source", ["other = 1", None], ids=["object missing", "module missing"])
def test_a_plug_in_that_points_at_nothing_is_a_plug_in_error(install, source):
    install("pretend_h", {"hollow": "pretend_hollow:it"}, {} if source is None else {"pretend_hollow": source})
    sys.modules.pop("pretend_hollow", None)
    with pytest.raises(
        PluginError, match=r"'hollow' of slmtk.metrics points at 'pretend_hollow:it', which does not exist"
    ):
        plugins.load("slmtk.metrics", "hollow")


def test_an_unknown_group_is_refused_with_the_list():
    with pytest.raises(PluginError, match=r"no plug-in group 'slmtk.codec'; expected one of slmtk.codecs, "):
        plugins.available("slmtk.codec")


def test_a_bug_inside_a_plug_in_is_not_dressed_up_as_a_users_mistake(install):
    install("pretend_i", {"buggy": "pretend_buggy:it"}, {"pretend_buggy": "import sys\nit = sys.no_such_thing"})
    with pytest.raises(AttributeError, match="no_such_thing"):
        plugins.load("slmtk.metrics", "buggy")
