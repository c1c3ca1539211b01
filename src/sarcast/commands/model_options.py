"""Options of the model that verbs share; without what reads cubes."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from sarcast.prediction import ContextSource, Precision

MODEL_OR_STRATEGY = (
    "Model folder, 'base' for the shipped weights, or a conventional strategy, such as mean or "
    "season-mean"
)
"""Description of an option, as far as all verbs have it in common."""
ModelOrStrategy = Annotated[Path, Field(description=f"{MODEL_OR_STRATEGY}.")]

Context = Annotated[
    ContextSource,
    Field(
        description="Scene context: scene lets the model see from the rest of the actual image how "
        "wet or frozen it is; none hides the actual image from it, as for a forecast."
    ),
]

Computed = Annotated[
    Precision,
    Field(
        description="Number format of the convolutions: bfloat16 takes two thirds of the time of "
        "float32 on processors with arithmetic for it (AVX512-BF16, AMX) and moves the expected "
        "image by about 0.004 dB; auto is bfloat16 on these and on GPUs, else float32."
    ),
]
