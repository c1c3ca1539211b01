"""Copies between the memory of the CPU and that of a GPU, by page-locked memory."""

from dataclasses import replace

import torch
from torch import Tensor

from sarcast.arrays import Float
from sarcast.windows import Batch


def upload_batch(batch: Batch, targets: int, device: torch.device, dtype: torch.dtype) -> Batch:
    """Copy a batch to a device, the previous images of each baseline once.

    Parameters
    ----------
    batch
        Windows on the CPU, of which each run of ``targets`` has the same baseline.
    targets
        1 or more.
    device
        The device.
    dtype
        Number format of the previous images there.
    """
    previous = batch.previous
    images = upload(previous[::targets].flatten(0, 1), device, dtype)
    images = images.view(-1, *previous.shape[1:]).repeat_interleave(targets, dim=0)
    others = replace(batch, previous=previous[:, :0]).to(device)
    return replace(others, previous=images)


def upload(images: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Copy images to a device, each while the next one is converted.

    Parameters
    ----------
    images
        Dims (image, ...), on the CPU.
    device
        The device.
    dtype
        Number format there: one of half the size takes half the time.
    """
    copied = torch.empty(images.shape, dtype=dtype, device=device)
    for image, target in zip(images, copied, strict=True):
        locked = torch.empty(image.shape, dtype=dtype, pin_memory=device.type == "cuda")
        target.copy_(locked.copy_(image), non_blocking=True)
    return copied


def download(images: Tensor) -> Float:
    """Copy float32 images to the CPU; from a GPU to page-locked memory, which is used again."""
    if images.device.type == "cuda":
        images = torch.empty(images.shape, pin_memory=True).copy_(images)
    array: Float = images.numpy()
    return array
