"""The text of a recipe: YAML with the scalars of version 1.2 and no key twice, and `--set` on top."""

import copy
import re
from typing import Any

import yaml

from compress.recipe.mistakes import show

__all__ = ["dump", "frozen", "override", "parse"]

# YAML 1.2's numbers and booleans: 1e-3 is a number, `no` and `12:30` are text.
_SCALARS = {
    "null": (r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    "bool": (r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    "int": (r"^[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    "float": (
        (
            r"^[-+]?(([0-9][0-9_]*)?\.[0-9]+([eE][-+]?[0-9]+)?"
            r"|[0-9][0-9_]*(\.([eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)|\.(inf|Inf|INF))$"
            r"|^\.(nan|NaN|NAN)$"
        ),
        list("-+.0123456789"),
    ),
    "merge": (r"^<<$", ["<"]),
}


# What a few anchors of anchors can stand for knows no end; no recipe has as much to say. Each value
# counts, and each piece of a text that is as long as a line.
MOST_VALUES, LINE = 100_000, 100


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own name and type; filled below

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put in what is merged; of a key that several bring, only the entry that counts stays."""
        super().flatten_mapping(node)
        last = {
            (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key): (key, value)
            for key, value in node.value
        }
        node.value = list(last.values())

    def mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    problem = f'the key "{key.value}" is there twice'
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
        self.flatten_mapping(node)
        return self.construct_mapping(node, deep=True)

    # Built in one go, unlike SafeLoader's own, so that a list that contains itself is refused.
    def sequence(self, node: yaml.SequenceNode) -> list[Any]:
        return self.construct_sequence(node, deep=True)


class _Dumper(yaml.SafeDumper):
    """Quotes what either YAML 1.1 or 1.2 would take for something else than text."""

    def text(self, value: str) -> yaml.ScalarNode:
        # Only double quotes have escapes, and PyYAML forgets that U+0085 ends a line.
        style = None if value.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", value, style)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.mapping)
_Loader.add_constructor("tag:yaml.org,2002:seq", _Loader.sequence)
_Dumper.add_representer(str, _Dumper.text)
for _tag, (_pattern, _first) in _SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def parse(text: str) -> Any:
    """The dicts, lists and scalars in `text`. Raises ValueError with line and column, from 1."""
    try:
        tree = yaml.load(text, _Loader)
        if (found := _size(tree, {})) > MOST_VALUES:
            raise ValueError(
                f"its anchors (&name) are used so often inside of each other that they stand for "
                f"{_rounded(found)} values, expected at most {MOST_VALUES:,}"
            )
        return _apart(tree)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(f"{where}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error).replace("\n", " ")) from error
    except RecursionError:
        raise ValueError("its brackets or indents are nested too deeply") from None


def _size(tree: Any, known: dict[int, int]) -> int:
    """Values in a tree, each as often as it is there; what an alias stands for is counted once and `known` by its id."""
    if isinstance(tree, str):
        return 1 + len(tree) // LINE
    if not isinstance(tree, dict | list):
        return 1
    if id(tree) not in known:
        inner = tree.values() if isinstance(tree, dict) else tree
        known[id(tree)] = 1 + sum(_size(value, known) for value in inner)
    return known[id(tree)]


def _rounded(number: int) -> str:
    return f"{number:,}" if number < 10**9 else "over a billion"


def _apart(tree: Any) -> Any:
    """A copy in which an anchor's aliases are values of their own, to override one by one."""
    if isinstance(tree, dict):
        return {key: _apart(value) for key, value in tree.items()}
    return [_apart(value) for value in tree] if isinstance(tree, list) else tree


def dump(tree: Any) -> str:
    """YAML that `parse` reads back as the same tree, keys in their order."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def override(tree: dict[str, Any], text: str) -> str | None:
    """Apply `a.b.0.c=VALUE`, VALUE in YAML, to `tree` in place; give the mistake in words, or None.

    Mappings that are not there are made, so that a default can be overridden; entries of lists are
    not. An index `*` is every entry of a list.
    """
    dotted, equals, value = text.partition("=")
    *above, last = dotted.strip().split(".")
    if not equals or not last or not all(above):
        return f"--set {text}: expected KEY=VALUE such as students.0.training.steps=50"
    try:
        _put(tree, [*above, last], parse(value), [])
    except ValueError as error:
        return f"--set {text}: {error}"
    return None


def _put(here: Any, path: list[str], value: Any, above: list[str]) -> None:
    """`value` at `path` below `here`, which lies at the path `above`."""
    part, *below = path
    if part == "*" and isinstance(here, list):
        for index in range(len(here)):
            _put(here, [str(index), *below], value, above)
        return
    key = _key(here, part, above)
    if not below:
        here[key] = copy.deepcopy(value)
        return
    if isinstance(here, dict):
        here.setdefault(key, {})
    _put(here[key], below, value, [*above, part])


def _key(here: Any, part: str, above: list[str]) -> Any:
    """`part` as a key of `here`, which lies at the path `above`; ValueError where it cannot be
    one.
    """
    if isinstance(here, dict):
        return part
    where = ".".join(above)
    if not isinstance(here, list):
        raise ValueError(f"{where} is {show(here)}, with no {show(part)} below it")
    if not (part.isascii() and part.isdigit() and int(part) < len(here)):
        count = f"{len(here)} {'entry' if len(here) == 1 else 'entries'}"
        raise ValueError(
            f"{where} is a list of {count}, expected an index from 0, found {show(part)}"
        )
    return int(part)


def frozen(tree: Any) -> Any:
    """Lists as tuples, since the sections hold tuples and are strict."""
    if isinstance(tree, dict):
        return {key: frozen(value) for key, value in tree.items()}
    return tuple(map(frozen, tree)) if isinstance(tree, list) else tree
