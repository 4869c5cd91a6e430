"""Utilization: the share of a node's GPU memory in use, from what its containers say."""

from collections.abc import Iterator, Mapping
from typing import Any


def utilization(resources: Mapping[str, Any]) -> float | None:
    """
    The share of the memory of all GPUs of a node that is in use, from 0 to 1; None if unknown.

    All GPUs are taken together, instead of the fullest one: where a language model fills one of
    eight, a job still finds memory. Containers often share a GPU, so each GPU counts once, by
    the device number and name that infernet-ml takes from nvidia-smi; of several readings the
    highest counts. A GPU whose memory is missing or impossible is left out.

    Disks are ignored: infernet-ml lists every mount that `df` sees in a container, and those of
    images and devices are always full.

    :param resources: the decoded answer to GET /resources, which is not trusted.
    """
    used: dict[tuple[int, str, int], int] = {}
    for gpu, reading in _gpus(resources):
        used[gpu] = max(reading, used.get(gpu, 0))
    total = sum(memory for _, _, memory in used)
    return sum(used.values()) / total if total else None


def _gpus(resources: Mapping[str, Any]) -> Iterator[tuple[tuple[int, str, int], int]]:
    """Each GPU that a container lists: its number, name and memory, and how much is in use."""
    for container in resources.values():
        for capability in _objects(container, "hardware_capabilities"):
            for position, gpu in enumerate(_objects(capability, "gpu_info")):
                number, name = gpu.get("cuda_device_id"), gpu.get("name")
                total, used = gpu.get("memory_total"), gpu.get("memory_used")
                if type(total) is not int or type(used) is not int or not 0 <= used <= total > 0:
                    continue
                if type(number) is not int or number < 0:
                    number = -1 - position
                yield (number, name if isinstance(name, str) else "", total), used


def _objects(parent: Any, name: str) -> list[dict[str, Any]]:
    """The objects in the list that is the value of `name`; empty if that is not a list."""
    members = parent.get(name) if isinstance(parent, dict) else None
    if not isinstance(members, list):
        return []
    return [member for member in members if isinstance(member, dict)]
