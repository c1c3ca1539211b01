"""Versions of sarcast and of what it needs, read from the metadata of the installed packages."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

_PACKAGE = "sarcast"


def requirements(extra: str = "") -> list[Requirement]:
    """List the packages that sarcast needs, or that one of its extras needs besides.

    Parameters
    ----------
    extra
        Name of an extra, such as ``"grd"``.

    Returns
    -------
    list of Requirement
        Empty if sarcast is not installed as a package.
    """
    try:
        listed = [Requirement(text) for text in requires(_PACKAGE) or ()]
    except PackageNotFoundError:
        return []
    return [each for each in listed if _is_of(each, extra)]


def _is_of(requirement: Requirement, extra: str) -> bool:
    """Whether a requirement is one of an extra, or of the package itself where that is empty."""
    marker = requirement.marker
    is_needed = marker is None or marker.evaluate({"extra": ""})
    if not extra:
        return is_needed
    return not is_needed and marker is not None and marker.evaluate({"extra": extra})


def installed(package: str) -> str | None:
    """Return the version of a package that is installed, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def versions() -> dict[str, str | None]:
    """Return the versions of Python, sarcast and what sarcast needs; None for what is missing."""
    ours = {"python": platform.python_version(), _PACKAGE: installed(_PACKAGE)}
    return {**ours, **{each.name: installed(each.name) for each in requirements()}}


def unmet(extra: str = "") -> Iterator[str]:
    """Describe the requirements that no installed package meets, such as ``zarr>=3.1 (2.18)``."""
    for each in requirements(extra):
        found = installed(each.name)
        if found is None or not each.specifier.contains(found, prereleases=True):
            yield f"{each.name}{each.specifier} ({found or 'missing'})"
