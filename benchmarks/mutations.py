"""Small faults that can be made in a source file, one at a time: the operators of mutants.py.

A comparison or an operator that is another, a constant off by one or doubled, a condition turned
round, a minus left out, the least for the greatest, nothing returned. Not in annotations,
decorators and what is raised: what a message says is no mathematics.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_OTHER = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult,
    ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_PAIRS = [("min", "max"), ("minimum", "maximum"), ("amin", "amax"), ("argmin", "argmax"),
          ("nanmin", "nanmax"), ("floor", "ceil"), ("any", "all")]  # fmt: skip
_SWAPPED = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
_NOT_RUN = ("annotation", "returns", "decorator_list", "bases")


@dataclass(frozen=True)
class Mutant:
    """One fault: in a file, the field of a node, in its place, and what stands there instead."""

    path: str
    lines: tuple[int, int]
    column: int
    change: str
    number: int

    @property
    def tree(self) -> ast.Module:
        """The file with its fault."""
        tree = ast.parse((ROOT / self.path).read_text(encoding="utf-8"))
        parent, field, index, _ = list(sites(tree))[self.number]
        node = getattr(parent, field) if index is None else getattr(parent, field)[index]
        other = next(alternatives(node))
        if index is None:
            setattr(parent, field, other)
        else:
            getattr(parent, field)[index] = other
        return ast.fix_missing_locations(tree)

    @property
    def id(self) -> str:
        """By which it is known in the result file."""
        return f"{self.path}:{self.lines[0]}:{self.column} {self.change}"


def alternatives(node: ast.AST) -> Iterator[ast.AST]:
    """A fault that could stand instead of a node, or none."""
    other = copy.deepcopy(node)
    match other:
        case ast.Compare(ops=[only]) if type(only) in _OTHER:
            other.ops = [_OTHER[type(only)]()]
            yield other
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(other.op) in _OTHER:
            sides = [getattr(other, s, None) for s in ("left", "right", "value")]
            # Text that is put together is a message.
            if not any(isinstance(s, ast.JoinedStr) or _is_text(s) for s in sides):
                other.op = _OTHER[type(other.op)]()
                yield other
        case ast.Constant(value=bool()):
            yield ast.Constant(not other.value)
        case ast.Constant(value=int()):
            yield ast.Constant(other.value + 1)
        case ast.Constant(value=float()):
            yield ast.Constant(2 * other.value or 1.0)
        case ast.UnaryOp(op=ast.USub() | ast.Not()):
            yield other.operand
        case ast.If() | ast.IfExp() | ast.While():
            other.test = ast.UnaryOp(ast.Not(), other.test)
            yield other
        case ast.Return(value=ast.AST()):
            yield ast.Return(ast.Constant(None))
        case ast.Attribute() if other.attr in _SWAPPED:
            other.attr = _SWAPPED[other.attr]
            yield other
        case ast.Name() if other.id in _SWAPPED:
            other.id = _SWAPPED[other.id]
            yield other


def _is_text(node: Any) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def sites(tree: ast.Module) -> Iterator[tuple[ast.AST, str, int | None, ast.stmt]]:
    """Places of nodes: parent, field, index, and the statement."""

    def below(parent: ast.AST, statement: ast.stmt | None) -> Iterator[Any]:
        for field, value in ast.iter_fields(parent):
            if field in _NOT_RUN:
                continue
            for index, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                # What a message says is nobody's to test.
                if not isinstance(node, ast.AST) or isinstance(node, ast.Raise | ast.Assert):
                    continue
                inside = node if isinstance(node, ast.stmt) else statement
                yield parent, field, index, inside
                yield from below(node, inside)

    yield from below(tree, None)


def mutants(path: Path) -> Iterator[Mutant]:
    """All of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for number, (parent, field, index, statement) in enumerate(sites(tree)):
        node = getattr(parent, field) if index is None else getattr(parent, field)[index]
        for other in alternatives(node):
            # Of what has a body, the lines of its head.
            body = getattr(statement, "body", None)
            last = body[0].lineno - 1 if body else statement.end_lineno
            shown = [" ".join(ast.unparse(n).split("\n")[0].split())[:70] for n in (node, other)]
            lines = statement.lineno, max(last, statement.lineno)
            column = getattr(node, "col_offset", 0)
            name = path.relative_to(ROOT).as_posix()
            yield Mutant(name, lines, column, " -> ".join(shown), number)
