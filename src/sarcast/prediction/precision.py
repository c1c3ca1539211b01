"""The number format that a device computes fastest in."""

import logging
from functools import cache

import torch

from sarcast.prediction import NumberFormat, Precision

_log = logging.getLogger(__name__)


def number_format(precision: Precision, device: str) -> NumberFormat:
    """Choose the number format of the convolutions.

    Parameters
    ----------
    precision
        ``"auto"`` gives bfloat16 where the device has arithmetic for it, which is logged once, and
        else float32; another one is kept.
    device
        The device, such as ``"cpu"`` or ``"cuda:1"``.
    """
    if precision != "auto":
        return precision
    if not has_bfloat16(device):
        return "float32"
    _log_choice()
    return "bfloat16"


def has_bfloat16(device: str) -> bool:
    """Whether a device has arithmetic for bfloat16: most GPUs, AVX512-BF16 and AMX."""
    kind = torch.device(device).type
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    processors = torch.cpu._is_avx512_bf16_supported, torch.cpu._is_amx_tile_supported
    return kind == "cpu" and any(supported() for supported in processors)


@cache
def _log_choice() -> None:
    _log.info("convolutions in bfloat16, which this device is fast in; precision float32 is exact")
