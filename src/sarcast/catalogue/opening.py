"""Opens a catalogue: a folder, the URL of a STAC API, or the URL of a database."""

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from sarcast.catalogue.folder import FolderCatalogue
from sarcast.catalogue.protocol import Catalogue, WritableCatalogue
from sarcast.errors import SarcastError, UsageError, hide
from sarcast.io.remote import RemoteOptions

_API = ("http", "https")
_DATABASE = ("postgresql", "postgres")


def open_catalogue(
    source: Path | str,
    collections: Sequence[str] = (),
    options: RemoteOptions | None = None,
    allow: Sequence[str] = (),
) -> Catalogue:
    """Open a catalogue of any kind; nothing is read yet.

    Parameters
    ----------
    source
        A folder, ``http(s)://`` of a STAC API, or ``postgresql://`` of a database with pgstac.
    collections
        Collections to search; empty for all.
    options
        Timeouts and retries for servers.
    allow
        Folders and starts of URLs that the assets of items may lie in, besides those of the
        catalogue, and of addresses inside this machine or network; docs/reference/security.md.

    Raises
    ------
    UsageError
        If it is any other URL.
    SarcastError
        If a package needed to read it is not installed.
    """
    scheme, divider, _ = str(source).partition("://")
    if not divider:
        return FolderCatalogue(Path(source), collections, allow)
    _check_url(str(source))
    if scheme in _API:
        from sarcast.catalogue.api import StacApi

        return StacApi(str(source), collections, options or RemoteOptions(), allow)
    if scheme in _DATABASE:
        return _database(str(source), collections, options or RemoteOptions(), allow)
    raise UsageError(
        f"{scheme}:// is not a catalogue; give a folder, http:// or https:// of a STAC API, "
        f"or postgresql:// of a database with pgstac"
    )


def _check_url(url: str) -> None:
    """Check that no part of a password can be taken for the host, port or path of a URL.

    Nothing of such a URL is shown, since it is not clear where the password ends.
    """
    authority, rest = re.fullmatch(r"[^/]*//([^/?#]*)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]
    if authority.count("@") > 1 or "@" in rest or not url.isprintable():
        raise UsageError(
            "the URL of the catalogue cannot be parsed; percent-encode special characters of user, "
            "password and path, such as %40 for @ and %2F for /"
        )
    try:
        _ = urlsplit(url).port
    except ValueError:
        if url.startswith(_API):
            raise UsageError(
                f"{hide(url, url)} is no URL; give one such as https://HOST:PORT/PATH, with "
                f"special characters of user and password percent-encoded"
            ) from None


def _database(
    url: str, collections: Sequence[str], options: RemoteOptions, allow: Sequence[str]
) -> Catalogue:
    try:
        from sarcast.catalogue.database import DatabaseCatalogue
    except ModuleNotFoundError as error:
        raise SarcastError(
            f"a catalogue in PostgreSQL needs {error.name}; "
            f"install it with: pip install 'sarcast[pgstac]'"
        ) from error
    return DatabaseCatalogue(url, collections, options, allow)


def open_writable(target: Path | str) -> WritableCatalogue:
    """Open a catalogue to add items to: a folder, or a database with pgstac.

    Raises
    ------
    UsageError
        If it is read-only.
    SarcastError
        If it is damaged, or its server does not answer.
    """
    catalogue = open_catalogue(target)
    if not isinstance(catalogue, WritableCatalogue):
        raise UsageError(
            f"{hide(str(target), str(target))} is a STAC API, which is read-only; give the folder "
            f"of a catalogue, or postgresql:// of the database behind the API"
        )
    catalogue.check()
    return catalogue
