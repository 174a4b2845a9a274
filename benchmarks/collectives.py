"""What a compiled program sends between devices, read from its text."""

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f64": 8, "s64": 8, "u64": 8}
_LINE = re.compile(rf"= (?P<result>.*?) (?P<kind>{'|'.join(KINDS)})(?:-start)?\((?P<rest>.*)")
_ARRAY = re.compile(r"([a-z]+\d*)\[([\d,]*)\]")
_GROUPS_LISTED = re.compile(r"replica_groups=\{\{([\d,]*)\}")
_GROUPS_NAMED = re.compile(r"replica_groups=mesh\[([^\]]*)\].*?\{('[^}]*)\}")
_GROUPS_COUNTED = re.compile(r"replica_groups=\[(\d+),(\d+)\]")


class Collective(NamedTuple):
    """One operation between devices.

    Args:
      kind: one of ``KINDS``.
      size: bytes of its result on one device.
      group: devices that take part in it together.
    """

    kind: str
    size: int
    group: int

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a ring of ``group``.

        All-reduce ``2 (n - 1) / n`` of the array; all-gather and all-to-all ``(n - 1) / n`` of the result;
        reduce-scatter ``n - 1`` times the result; a permutation the result once.
        """
        n = self.group
        share = {
            "all-reduce": 2 * (n - 1) / n,
            "all-gather": (n - 1) / n,
            "all-to-all": (n - 1) / n,
            "reduce-scatter": n - 1,
            "collective-permute": 1,
        }
        return share[self.kind] * self.size


def find_collectives(hlo: str, num_devices: int) -> list[Collective]:
    """Every collective in the text of a compiled program; one in the body of a loop is there once.

    Args:
      hlo: ``compiled.as_text()``.
      num_devices: that the program runs on; the group where none is written.
    """
    found = []
    for line in hlo.splitlines():
        match = _LINE.search(line)
        if match:
            size = sum(_array_bytes(kind, shape) for kind, shape in _ARRAY.findall(match["result"]))
            found.append(Collective(match["kind"], size, _group(match["rest"], num_devices)))
    return found


def count_by_kind(collectives: Iterable[Collective]) -> dict[str, int]:
    """How many there are of each kind, all kinds named."""
    counts = dict.fromkeys(KINDS, 0)
    for collective in collectives:
        counts[collective.kind] += 1
    return counts


def _group(text: str, num_devices: int) -> int:
    listed, counted, named = (form.search(text) for form in (_GROUPS_LISTED, _GROUPS_COUNTED, _GROUPS_NAMED))
    if named:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", named[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'(\w+)'", named[2]))
    if listed:
        return max(len(listed[1].split(",")), 1)
    return int(counted[2]) if counted else num_devices


def _array_bytes(kind: str, shape: str) -> int:
    count = 1
    for side in filter(None, shape.split(",")):
        count *= int(side)
    return count * _BYTES.get(kind, 4)
