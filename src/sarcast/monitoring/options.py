"""Options of monitoring."""

from typing import Literal

from pydantic import ConfigDict, Field

from sarcast.cube.dates import IsoDate
from sarcast.detection.blocks import BlockOptions
from sarcast.detection.prepare import EvidenceOptions
from sarcast.monitoring.confirmation import OperaOptions
from sarcast.monitoring.sequential import SequentialOptions

RuleName = Literal["sequential", "opera"]
Encoding = Literal["opera", "gfw"]


class MonitorOptions(EvidenceOptions, SequentialOptions, BlockOptions):
    """What each acquisition is compared with, and which rule confirms alerts."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    acquisitions: int = Field(
        4,
        ge=1,
        le=64,
        description="Number of acquisitions, of all tracks together, whose evidence is taken "
        "together at each new one: itself and those before it.",
    )
    start: IsoDate | None = Field(
        None,
        description="First acquisition to process, ISO 8601, at the first run; default: the first "
        "one after a year of the cube, else the first one whose past has room for 4 replays, else "
        "the last quarter of the cube.",
    )
    rule: RuleName = Field(
        "sequential",
        description="What confirms alerts: sequential (evidence against the past of the cube) or "
        "opera (as DIST-ALERT, from the norm of z of each acquisition alone).",
    )
    opera: OperaOptions = Field(
        default_factory=OperaOptions, description="Parameters of the rule opera."
    )
    renew_days: int = Field(
        90,
        ge=1,
        le=3650,
        description="Days of acquisitions after which the past is replayed anew; in the first year "
        "of a cube sooner, whenever its past is a quarter longer.",
    )
    renew_null: bool = Field(
        False, description="Replay the past anew at the first acquisition of this run."
    )
    replay_from: IsoDate | None = Field(
        None,
        description="Go back to the last kept state before this date, ISO 8601, and process what "
        "follows anew.",
    )
    encoding: Encoding = Field(
        "opera",
        description="Dates of the rasters: opera (days since 2020-12-31) or gfw (days since "
        "2014-12-31, with alert.tif in the code of Global Forest Watch).",
    )
    notify: str | None = Field(
        None,
        description="URL to which new, confirmed and finished events are posted as CloudEvents, or "
        "file to which they are appended as JSON lines.",
    )

    @property
    def fixed(self) -> dict[str, str]:
        """Options that must not change between runs, by name."""
        return {
            name: str(getattr(self, name)) for name in type(self).model_fields if name not in FREE
        }


FREE = frozenset(
    {
        "start",
        "renew_null",
        "replay_from",
        "encoding",
        "notify",
        "bands",
        *BlockOptions.model_fields,
    }
)
"""Options that may change between runs; the bands are those of the first run. The blocks do not
change the result."""
