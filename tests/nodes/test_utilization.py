"""Tests of infernet_router.nodes.utilization."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from infernet_router.nodes.utilization import utilization

GIB = 1 << 30


def gpu(used: int, total: int = 80, number: int | None = 0, name: str = "A100") -> dict[str, Any]:
    """A GPU as a container lists it, with memory in GiB."""
    return {
        "name": name,
        "memory_total": total * GIB,
        "memory_used": used * GIB,
        "cuda_device_id": number,
    }


def container(*gpus: Any) -> dict[str, Any]:
    """The resources of a container that has these GPUs."""
    disk = {"filesystem": "/dev/loop0", "mount_point": "/snap", "size": 9, "used": 9}
    return {
        "version": "0.1.0",
        "service_id": "llm",
        "hardware_capabilities": [
            {"capability_id": "base", "cpu_info": {"num_cores": 8}, "disk_info": [disk]},
            {"capability_id": "gpu", "cuda_version": "12.4", "gpu_info": list(gpus)},
        ],
        "compute_capability": [],
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
AMOUNTS = st.sampled_from([0, 1, 7, 8, -1, 2**70, 10**400, 0.5, float("nan"), True, "8", None])


class UtilizationTests(SynchronousTestCase):
    def test_share(self) -> None:
        """The result is the share of the memory that is in use."""
        self.assertEqual(utilization({"llm": container(gpu(60))}), 0.75)
        self.assertEqual(utilization({"llm": container(gpu(0))}), 0.0)
        self.assertEqual(utilization({"llm": container(gpu(80))}), 1.0)

    def test_several(self) -> None:
        """Several GPUs are taken together, weighted by their memory."""
        said = {"llm": container(gpu(80, number=0), gpu(0, number=1))}
        self.assertEqual(utilization(said), 0.5)
        said = {"llm": container(gpu(80)), "b": container(gpu(0, 20, number=1, name="L4"))}
        self.assertEqual(utilization(said), 0.8)

    def test_once(self) -> None:
        """A GPU that several containers list counts once, with its highest reading."""
        other = gpu(0, number=1)
        said = {"llm": container(gpu(40), other), "b": container(gpu(60), other), "c": container()}
        self.assertEqual(utilization(said), 60 / 160)
        said = {"llm": container(gpu(40)), "b": container(gpu(0, name="L4"))}
        self.assertEqual(utilization(said), 0.25)

    def test_no_number(self) -> None:
        """GPUs without a number are told apart by their position in a container's list."""
        for number in (None, -1):
            two = container(gpu(80, number=number), gpu(0, number=number))
            self.assertEqual(utilization({"llm": two, "b": two}), 0.5)

    def test_unknown(self) -> None:
        """Without GPU memory, or in another format, the utilization is unknown."""
        self.assertIsNone(utilization({}))
        shapes: tuple[Any, ...] = (
            {},
            [],
            container(),
            {"hardware_capabilities": {"gpu_info": [gpu(1)]}},
            {"hardware_capabilities": [[gpu(1)], None, {"gpu_info": gpu(1)}]},
            container(None, 3, [gpu(1)], {}),
        )
        for said in shapes:
            self.assertIsNone(utilization({"llm": said}))

    def test_impossible(self) -> None:
        """A GPU with impossible memory is left out; the others still count."""
        for total, used in (
            (0, 0),
            (-8, -8),
            (8, -1),
            (8, 9),
            (8.0, 4),
            (8, 4.0),
            (float("nan"), float("nan")),
            (8, True),
            ("8", "4"),
            (None, 4),
        ):
            bad = {**gpu(1), "memory_total": total, "memory_used": used}
            self.assertIsNone(utilization({"llm": container(bad)}))
            self.assertEqual(utilization({"llm": container(bad, gpu(20, number=1))}), 0.25)

    def test_odd_name(self) -> None:
        """A GPU may have any name and number, or neither."""
        values: tuple[Any, ...] = ([], {}, ["A100"], 0.5, None, True)
        for key in ("name", "cuda_device_id"):
            for odd in values:
                self.assertEqual(utilization({"llm": container({**gpu(20), key: odd})}), 0.25)

    def test_huge(self) -> None:
        """Numbers may be arbitrarily large."""
        huge = {**gpu(1), "memory_total": 10**400, "memory_used": 10**400 // 4}
        self.assertEqual(utilization({"llm": container(huge)}), 0.25)

    @given(st.dictionaries(st.text(max_size=3), JSON))
    def test_anything(self, said: dict[str, Any]) -> None:
        """Any JSON is accepted without an exception."""
        self.assertIsNone(utilization(said))
        self.assertIsNone(utilization({"llm": {"hardware_capabilities": [said]}}))

    @given(
        st.lists(
            st.lists(
                st.fixed_dictionaries(
                    {},
                    optional={
                        "memory_total": AMOUNTS,
                        "memory_used": AMOUNTS,
                        "cuda_device_id": AMOUNTS,
                        "name": AMOUNTS | JSON,
                    },
                )
                | JSON,
                max_size=4,
            ),
            max_size=3,
        )
    )
    def test_always_a_share(self, containers: list[list[Any]]) -> None:
        """Whatever the GPUs, the result is between 0 and 1, or None."""
        said = {str(number): container(*gpus) for number, gpus in enumerate(containers)}
        share = utilization(said)
        self.assertTrue(share is None or 0 <= share <= 1, share)
        if share is not None:
            self.assertEqual(utilization(json.loads(json.dumps(said))), share)
