"""Patience with what lies behind a URL: how long an answer may take, how often it is asked for."""

import logging
import math
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from sarcast.errors import without_credentials

T = TypeVar("T")

LONGEST_PAUSE_S = 60.0
"""Pauses between tries double up to this."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP status codes of faults that may pass (RFC 9110, RFC 8470, RFC 6585)."""
_SCHEMES = ("http://", "https://", "s3://", "gs://", "az://", "/vsi")


class RemoteOptions(BaseModel):
    """How patiently servers are asked: catalogues, and rasters behind URLs."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tries: int = Field(
        4, ge=1, le=20, description="Times that a server is asked before it is given up."
    )
    timeout: float = Field(60.0, gt=0.0, description="Seconds that a server's answer may take.")
    pause: float = Field(
        1.0, ge=0.0, description="Seconds before the second try; each further pause is doubled."
    )


def is_remote(href: str) -> bool:
    """Whether a path or URL is read over the network."""
    return href.startswith(_SCHEMES)


def patiently(
    call: Callable[[], T], options: RemoteOptions, passes: Callable[[Exception], bool]
) -> T:
    """Call until it succeeds, fails for good, or was tried often enough.

    Parameters
    ----------
    call
        What is done.
    options
        How often and with which pauses.
    passes
        Whether a failure may pass; any other is raised at once.

    Returns
    -------
    T
        What ``call`` gives.

    Raises
    ------
    Exception
        The last failure, as ``call`` raised it.
    """
    from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

    retrying = Retrying(
        stop=stop_after_attempt(options.tries),
        wait=wait_exponential(multiplier=options.pause, max=LONGEST_PAUSE_S),
        retry=retry_if_exception(lambda fault: isinstance(fault, Exception) and passes(fault)),
        reraise=True,
    )
    return retrying(call)


def gdal_settings(options: RemoteOptions) -> dict[str, str]:
    """GDAL's configuration for the same patience with rasters behind URLs.

    GDAL itself asks again after the faults that may pass, and logs the URL; credentials are taken
    out of that. For ``rasterio.Env``.
    """
    hide_credentials("rasterio._env")
    return {
        "GDAL_HTTP_MAX_RETRY": str(options.tries - 1),
        "GDAL_HTTP_RETRY_DELAY": str(options.pause),
        "GDAL_HTTP_TIMEOUT": str(math.ceil(options.timeout)),
        "GDAL_HTTP_CONNECTTIMEOUT": str(math.ceil(options.timeout)),
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }


def hide_credentials(logger: str) -> None:
    """Take credentials out of all that a library logs from now on."""
    logging.getLogger(logger).addFilter(_hidden)


def _hidden(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_credentials(record.getMessage()), ()
    return True
