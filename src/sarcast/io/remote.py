"""Remote sources: timeouts and retries for servers, and credentials kept out of logs."""

import logging
import math
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from sarcast.errors import without_credentials

T = TypeVar("T")

LONGEST_PAUSE_S = 60.0
"""Longest pause between tries, seconds."""
TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP status codes of transient faults (RFC 9110, RFC 8470, RFC 6585)."""
_SCHEMES = ("http://", "https://", "s3://", "gs://", "az://", "abfs://", "/vsi")


class RemoteOptions(BaseModel):
    """Timeouts and retries for servers: catalogues, and rasters behind URLs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tries: int = Field(
        4, ge=1, le=20, description="Number of attempts before a request to a server fails."
    )
    timeout: float = Field(60.0, gt=0.0, description="Seconds to wait for a server's answer.")
    pause: float = Field(
        1.0,
        ge=0.0,
        description="Seconds before the second try; each later pause is twice as long.",
    )


def is_remote(href: str) -> bool:
    """Whether a path or URL is read over the network."""
    return href.startswith(_SCHEMES)


def retry(
    call: Callable[[], T], options: RemoteOptions, is_transient: Callable[[Exception], bool]
) -> T:
    """Call a function, again after transient failures.

    Parameters
    ----------
    call
        The function.
    options
        Number of tries, and pauses between them.
    is_transient
        Whether a failure may be gone at the next try; any other failure is raised at once.

    Returns
    -------
    T
        What ``call`` returns.

    Raises
    ------
    Exception
        The last failure, as ``call`` raised it.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    retrying = Retrying(
        stop=stop_after_attempt(options.tries),
        wait=wait_exponential(multiplier=options.pause, max=LONGEST_PAUSE_S),
        retry=retry_if_exception(
            lambda error: isinstance(error, Exception) and is_transient(error)
        ),
        reraise=True,
    )
    return retrying(call)


def gdal_settings(href: str, options: RemoteOptions) -> dict[str, str]:
    """GDAL configuration with the same timeouts and retries for a raster; for ``rasterio.Env``.

    It is empty for one that is not remote. GDAL itself retries after transient faults and logs the
    URL; credentials are removed from its log messages.
    """
    if not is_remote(href):
        return {}
    hide_credentials("rasterio._env")
    return {
        "GDAL_HTTP_MAX_RETRY": str(options.tries - 1),
        "GDAL_HTTP_RETRY_DELAY": str(options.pause),
        "GDAL_HTTP_TIMEOUT": str(math.ceil(options.timeout)),
        "GDAL_HTTP_CONNECTTIMEOUT": str(math.ceil(options.timeout)),
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }


def hide_credentials(logger: str) -> None:
    """Remove credentials from everything that a logger logs from now on."""
    logging.getLogger(logger).addFilter(_remove_credentials)


def _remove_credentials(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_credentials(record.getMessage()), ()
    return True
