"""Everything that has a part in a tensor, and nothing else."""

from exporters.targets.upstream import upstream

# a ─ log1 ─ b ─┐
# c ─ split ─ d, e ─ sum ─ f ─ out
GRAPH = {
    "log1": (("a",), ("b",)),
    "split": (("c",), ("d", "e")),
    "sum": (("b", "d", "e"), ("f",)),
    "out": (("f",), ("g",)),
}
MADE_BY = {name: node for node, (_, given) in GRAPH.items() for name in given}


def before(*wanted: str) -> list[str]:
    return list(upstream(wanted, MADE_BY, lambda node: GRAPH[node][0]))


def test_each_node_once_at_any_distance() -> None:
    assert sorted(before("f")) == ["log1", "split", "sum"]
    assert before("d", "e") == ["split"]
    assert sorted(before("g", "b")) == ["log1", "out", "split", "sum"]


def test_inputs_have_nothing_before_them() -> None:
    assert before("a", "unknown") == []
    assert before() == []
