"""What stands before something in a graph, in whatever way a format writes graphs."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
Node = TypeVar("Node")


def upstream(
    wanted: Iterable[Name], made_by: Mapping[Name, Node], taken: Callable[[Node], Iterable[Name]]
) -> Iterator[Node]:
    """Every node that has a part in the tensors `wanted`, at any distance, each once.

    `made_by` tells which node gives a tensor, `taken` which tensors a node takes; a tensor that no
    node gives is an input or a constant.
    """
    left, seen = list(wanted), set[int]()
    while left:
        name = left.pop()
        if name in made_by and id(node := made_by[name]) not in seen:
            seen.add(id(node))
            yield node
            left += taken(node)
