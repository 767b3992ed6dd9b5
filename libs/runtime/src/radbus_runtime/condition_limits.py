"""How much an expression may ask for: what its length and nesting bound, no list or text can make long."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

LENGTH_LIMIT: Final = 2_000
NESTED_LIMIT: Final = 2
LIST_LIMIT: Final = 256
_REPEATS_LIMIT: Final = 100
_DEPTH_LIMIT: Final = 16

_STRING: Final = re.compile(
    r"""[rRbB]{0,2}(?:\"{3}.*?\"{3}|'{3}.*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""", re.DOTALL
)
_STEP: Final = re.compile(r"\.\s*(?P<macro>all|exists|exists_one|map|filter|matches)\s*\(|(?P<open>[(\[{])|[)\]}]")
_REPEATS: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_MAKES_LISTS: Final = frozenset({"map", "filter"})


def fault_of(expression: str) -> str | None:
    """Say what was expected of an expression that may take too long, None of any other."""
    if len(expression) > LENGTH_LIMIT:
        return f"expected at most {LENGTH_LIMIT} characters"
    repeats = sum(int((most or least)[:9]) for least, most in _REPEATS.findall(expression))
    if repeats > _REPEATS_LIMIT:
        return f"expected counted repetitions of at most {_REPEATS_LIMIT} in all, such as {{2,4}}"
    nests = list(_nests(_STRING.sub('""', expression)))
    if max(map(_loops, nests), default=0) > NESTED_LIMIT:
        return f"expected at most {NESTED_LIMIT} of all(), exists() and exists_one() inside one another"
    makers = [nest for nest in nests if nest[-1] in _MAKES_LISTS]
    if len(makers) > 1 or any(_loops(nest) > 1 for nest in nests if _MAKES_LISTS & {*nest}):
        return "expected one map() or filter() at most, neither inside another nor around one"
    if any(nest[-1] == "matches" and _loops(nest) == NESTED_LIMIT for nest in nests):
        return "expected no matches() where one list is gone through for each element of another"
    return None


def without_long_lists(value: Any, depth: int = 0) -> Any:
    """Leave lists of more than `LIST_LIMIT` elements out of what conditions read, and what is nested beyond sense."""
    if isinstance(value, Mapping):
        kept = {name: each for name, each in value.items() if not _is_left_out(each, depth)}
        return {name: without_long_lists(each, depth + 1) for name, each in kept.items()}
    if isinstance(value, (list, tuple)):
        return [without_long_lists(each, depth + 1) for each in value if not _is_left_out(each, depth)]
    return value


def _is_left_out(value: object, depth: int) -> bool:
    is_deep = depth >= _DEPTH_LIMIT and isinstance(value, (Mapping, list, tuple))
    return is_deep or (isinstance(value, (list, tuple)) and len(value) > LIST_LIMIT)


def _nests(expression: str) -> Iterator[tuple[str, ...]]:
    """Give, for each call that loops or matches, the calls that it stands in, itself at the end."""
    stack: list[str] = []
    for step in _STEP.finditer(expression):
        if step["macro"] or step["open"]:
            stack.append(step["macro"] or "")
            if step["macro"]:
                yield tuple(filter(None, stack))
        elif stack:
            stack.pop()


def _loops(nest: tuple[str, ...]) -> int:
    return sum(name != "matches" for name in nest)
