"""Versions of the installed packages."""

import platform
from importlib.metadata import PackageNotFoundError, version

import numpy
import pytest
import rasterio

from sarcast.io import versions as module
from sarcast.io.versions import requirements, unmet, versions

LISTED = [
    "numpy>=1.0",
    "zarr>=99",
    "no-such-package>=1; python_version > '3'",
    "of-another-python>=1; python_version < '3'",
    "sarsen>=1; extra == 'grd'",
]


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "requires", lambda _: LISTED)


def test_versions_are_those_that_the_packages_state() -> None:
    found = versions()
    assert found["numpy"] == numpy.__version__
    assert found["rasterio"] == rasterio.__version__
    assert found["python"] == platform.python_version()


def test_requirements_of_extras_are_separate(listed: None) -> None:
    assert [each.name for each in requirements()] == ["numpy", "zarr", "no-such-package"]
    assert [each.name for each in requirements("grd")] == ["sarsen"]
    assert requirements("postgis") == []


def test_what_is_missing_or_too_old_is_described(listed: None) -> None:
    assert [*unmet()] == [f"zarr>=99 ({version('zarr')})", "no-such-package>=1 (missing)"]
    assert versions()["no-such-package"] is None


def test_a_package_that_is_not_installed_has_no_requirements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_: str) -> list[str]:
        raise PackageNotFoundError

    monkeypatch.setattr(module, "requires", missing)
    assert requirements() == []
