"""Which previous images a prediction uses, as options: without what reads cubes."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Chooser = Literal["nearest", "recent", "same-season", "both"]
"""Images nearest in time and season, the latest, those of the target's season in earlier years, or
half of each of the last two."""
CHOOSER_HELP = (
    "Which previous images: nearest (in time, or in season in earlier years, each year counting as "
    "20 days), recent (the latest), same-season (from earlier years), or both (alternating between "
    "recent and same-season). If too few match the season, the latest ones fill up."
)
"""Description of a chooser in options."""
FEWEST_PREVIOUS = 8
"""Images that a baseline of detection needs, if it asks for as many."""


class PreviousOptions(BaseModel):
    """How many previous images a prediction uses, and which."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    previous: int = Field(
        4, ge=1, le=64, description="Number of previous images, for networks that take any number."
    )
    chooser: Chooser = Field("nearest", description=CHOOSER_HELP)

    @property
    def fewest(self) -> int:
        """Number of previous images without which nothing is predicted."""
        return self.previous

    def for_network(self, previous: int | None) -> "PreviousOptions":
        """Ask for exactly as many images as a network needs; the same if it takes any number."""
        if previous is None:
            return self
        return PreviousOptions(previous=previous, chooser=self.chooser)


class BaselineOptions(PreviousOptions):
    """How many previous images the baseline of a detection uses at most, and which."""

    previous: int = Field(
        16,
        ge=1,
        le=64,
        description="Number of images of the baseline, at most: eight of them are enough where "
        "the past has no more.",
    )

    @property
    def fewest(self) -> int:
        """Number of previous images without which nothing is predicted."""
        return min(self.previous, FEWEST_PREVIOUS)
