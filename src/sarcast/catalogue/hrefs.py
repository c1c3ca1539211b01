"""Which hrefs of items may be opened.

An item may come from anybody, and GDAL opens much more than files: driver prefixes, inline XML and
``/vsi`` names reach other files, programs and servers. Only files below the catalogue and URLs of
known schemes pass; addresses inside this machine or network only if the catalogue lies there.
"""

import ipaddress
import os
import re
import socket
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urljoin, urlsplit
from urllib.request import url2pathname

from sarcast.catalogue.unusable import UnusableError
from sarcast.errors import hide

FORBIDDEN = "href that may not be opened; allow it with --allow-href"
OTHER_ASSET = "not images, and their hrefs may not be opened; allow them with --allow-href"
REMOTE_SCHEMES = frozenset({"http", "https", "s3", "gs", "az", "abfs"})
VIRTUAL = ".vrt"
"""Suffix of GDAL's virtual rasters, which name other files and URLs."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+|[A-Z][A-Z0-9_]+):")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f<>{}|\\^`]")
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")
_SHOWN = 200
_LOCAL_NAMES = ("localhost", "internal", "local")


@dataclass(frozen=True)
class Places:
    """Places in which the assets of a catalogue may lie.

    Attributes
    ----------
    home
        Folder or URL of the catalogue; its folder and its host may be read. Empty for none.
    folders
        Other folders that may be read.
    allowed
        Folders and starts of URLs that the user allows, virtual rasters included.
    any_place
        Whether every file of this machine may be read, because the user wrote the items.
    follow_links
        Whether links in the folders may lead out of them.
    """

    home: str = ""
    folders: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    any_place: bool = False
    follow_links: bool = False

    def check(self, href: str, base: str, name: str) -> str:
        """Return an href as a URL or an absolute path.

        Parameters
        ----------
        href
            As an item states it.
        base
            File, folder with a final ``/``, or URL that it may be relative to.
        name
            Of the item and asset, for the message.

        Raises
        ------
        UnusableError
            If it may not be opened.
        """
        found = absolute(href, base)
        fault = self._fault_of_url(found) if is_url(found) else self._fault_of_path(found)
        if fault is None:
            return found
        place, where = _shown(found)
        raise UnusableError(
            FORBIDDEN,
            f"{name}: {place} is not opened, {fault}; if you trust it, add --allow-href {where}",
        )

    def _fault_of_url(self, url: str) -> str | None:
        parts = _split(url)
        if parts is None or parts[0] not in {*REMOTE_SCHEMES, *map(_scheme_of, self.allowed)}:
            known = ", ".join(sorted(REMOTE_SCHEMES))
            return f"it is neither a file nor a URL with one of the schemes {known}"
        if any(_starts(url, prefix) for prefix in self.allowed):
            return None
        if _is_virtual(url):
            return "it is a virtual raster, which names other files and URLs"
        scheme, host = parts
        if scheme in ("http", "https") and lies_inside(host) and host != _host_of(self.home):
            return "its server lies inside this machine or network and the catalogue does not"
        return None

    def _fault_of_path(self, path: str) -> str | None:
        if not (path.isprintable() and os.path.isabs(path)):  # noqa: PTH117
            return "it is no absolute path of a file"
        if re.match(r"[/\\]+vsi", path, re.IGNORECASE):
            return "it is a virtual file name of GDAL"
        real = path if self.follow_links else _real(path)
        if _is_special(path):
            return "it is no regular file"
        if any(_is_below(real, place) for place in self._folders(self.allowed)):
            return None
        if _is_virtual(path) and not self.any_place:
            return "it is a virtual raster, which names other files and URLs"
        if self.any_place or any(_is_below(real, place) for place in self._own()):
            return None
        return "it lies outside the catalogue"

    def _own(self) -> Sequence[str]:
        return self._folders((*([self.home] if self.home else []), *self.folders))

    def _folders(self, places: Sequence[str]) -> list[str]:
        local = [place for place in places if not is_url(place)]
        return [place if self.follow_links else _real(place) for place in map(_absolute, local)]


def base_of(path: Path) -> str:
    """What hrefs in a file are relative to: the file itself, absolute, links not followed."""
    return _absolute(str(path))


def is_url(href: str) -> bool:
    """Whether an href has a scheme, or one of GDAL's prefixes; the drive of a path is neither."""
    return _SCHEME.match(href) is not None


def absolute(href: str, base: str) -> str:
    """An href as a URL or an absolute path; ``file:`` URLs become paths.

    Parameters
    ----------
    href
        A URL or a path.
    base
        File, folder with a final ``/``, or URL that a relative path is relative to.
    """
    if href.startswith("file:"):
        return _path_of(href) or href
    if is_url(href) or os.path.isabs(href):  # noqa: PTH117
        return href if is_url(href) else os.path.normpath(href)
    if is_url(base):
        return urljoin(base, href)
    return os.path.normpath(os.path.join(os.path.dirname(base), href)) if base else href  # noqa: PTH118, PTH120


def lies_inside(host: str) -> bool:
    """Whether a host is this machine, or lies in a private or link-local network, by its name.

    Numbers are read as the C library does: ``2130706433``, ``0x7f.1`` and ``0177.0.0.1`` are
    127.0.0.1. Names are not resolved.
    """
    bare = unicodedata.normalize("NFKC", host).lower().strip("[]").rstrip(".")
    if not bare or bare.rpartition(".")[2] in _LOCAL_NAMES:
        return True
    address = _address(bare)
    if address is None:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        mapped = address.ipv4_mapped or address.sixtofour or _embedded(address)
        if mapped is not None:
            return not mapped.is_global
    return not address.is_global


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address in one of NAT64 (RFC 6052) or a compatible one."""
    prefix, last = int(address) >> 32, int(address) & 0xFFFFFFFF
    is_one = prefix in (0, 0x0064FF9B << 64) and last > 1
    return ipaddress.IPv4Address(last) if is_one else None


def _path_of(url: str) -> str | None:
    """Path of a file on this machine that a ``file:`` URL names; None if it names another."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        return None
    try:
        return os.path.normpath(url2pathname(parts.path))
    except OSError:  # on Windows, no drive
        return None


def _split(url: str) -> tuple[str, str] | None:
    """Scheme and host of a URL; None if it has none that every reader would find."""
    scheme, divider, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    host = re.sub(r":\d*$", "", authority.rpartition("@")[2]).lower()
    plain = unicodedata.normalize("NFKC", host)
    if not divider or _UNSAFE.search(url) or not _HOST.fullmatch(plain):
        return None
    return scheme.lower(), plain.rstrip(".")


def _host_of(place: str) -> str | None:
    parts = _split(place) if is_url(place) else None
    return None if parts is None else parts[1]


def _scheme_of(place: str) -> str:
    return place.partition("://")[0].lower() if "://" in place else ""


def _starts(url: str, prefix: str) -> bool:
    """Whether a URL is a prefix or lies below it: ``https://a/b`` does not allow ``https://a/bc``."""
    start = prefix.rstrip("/")
    return "://" in prefix and url.startswith(start) and url[len(start) : len(start) + 1] in "/?"


def _is_virtual(place: str) -> bool:
    return re.split(r"[?#]", place, maxsplit=1)[0].lower().endswith(VIRTUAL)


def _is_below(path: str, folder: str) -> bool:
    path, folder = os.path.normcase(path), os.path.normcase(folder)
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _absolute(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111


def _real(path: str) -> str:
    """A path without links; those of its folder are looked up once."""
    if os.path.islink(path):  # noqa: PTH114
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    return os.path.join(_real_folder(folder), name)  # noqa: PTH118


@lru_cache(maxsize=10_000)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _is_special(path: str) -> bool:
    """Whether a path is a device, a pipe or a socket, which could block a reader."""
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _shown(found: str) -> tuple[str, str]:
    """An href and the place to allow, for a message."""
    shown = hide(found, found)[:_SHOWN]
    if not is_url(found):
        return shown, os.path.dirname(shown) or "FOLDER"  # noqa: PTH120
    scheme, divider, rest = shown.partition("://")
    return shown, f"{scheme}{divider}{rest.partition('/')[0]}/" if divider else "PREFIX"
