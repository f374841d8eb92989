"""Collectives that are no-ops in a single process."""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Processes that train together; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's place among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """Sum of ``tensor`` over processes, in place."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def largest(number: int, device: torch.device) -> int:
    """The largest of the processes' numbers, in all of them."""
    if world_size() == 1:
        return number
    tensor = torch.tensor(number, device=device)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return int(tensor)


def gather_rows(rows: Tensor, keep: Tensor) -> Tensor:
    """Kept rows of all processes in rank order.

    Args:
        rows: ``(N, D)``, the same N everywhere.
        keep: ``(N,)`` bool.

    Returns:
        ``(M, D)`` with M the number of kept rows in all.
    """
    if world_size() > 1:
        rows_of = [torch.empty_like(rows) for _ in range(world_size())]
        keep_of = [torch.empty_like(keep, dtype=torch.uint8) for _ in range(world_size())]
        dist.all_gather(rows_of, rows.contiguous())
        dist.all_gather(keep_of, keep.to(torch.uint8))
        rows, keep = torch.cat(rows_of), torch.cat(keep_of).bool()
    return rows[keep]
