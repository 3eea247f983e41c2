"""The kernels rewritten, by program, for the other layout of the state.

The kernels of ``townlet_env.sim`` are written for one world, a record. Here their source is
transformed so that the state is flat arrays with a leading world axis: ``world.needs[i, k]``
becomes ``residents.needs[w, i, k]``, ``world.tick`` becomes ``town.tick[w]``, and every kernel that
the tick page calls owns the loop over worlds. Nothing else changes: the same rules, the same order.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import townlet_env.sim
from townlet_env.sim.state import CAPACITIES, outcome_dtype, world_dtype

SIM = Path(townlet_env.sim.__file__).parent
OBSERVERS = ("observe_map", "observe_features", "observe_mask")

TOWN: tuple[str, ...] = ("seed", "tick", "start_minute", "n_residents", "n_objects")
TOWN += ("price_meal", "price_groceries", "power", "water")
TIES = ("rivalry", "trust", "familiarity")
THINGS: tuple[str, ...] = ("kind", "object_x", "object_y", "stock", "user", "holder", "holder_age")
THINGS += ("queue", "queue_length")


def groups_of_state() -> dict[str, tuple[str, ...]]:
    """Return the groups of arrays and their fields, from the fields of the records."""
    world, outcome = world_dtype(CAPACITIES[0]), outcome_dtype(CAPACITIES[0])
    rest = [name for name in world.names or () if name not in (*TOWN, *TIES, *THINGS)]
    return {
        "town": TOWN,
        "residents": tuple(rest),
        "ties": TIES,
        "things": THINGS,
        "outcome": tuple(outcome.names or ()),
    }


GROUPS = groups_of_state()
GROUP_OF = {field: group for group, fields in GROUPS.items() for field in fields}


class Function(NamedTuple):
    """One kernel as written, and what it needs of the state through all it calls."""

    node: ast.FunctionDef
    groups: list[str]

    @property
    def parameters(self) -> list[str]:
        """Return the parameters that are not the state."""
        names = [argument.arg for argument in self.node.args.args]
        return [name for name in names if name not in ("world", "outcome")]


def read_sources() -> tuple[list[str], dict[str, ast.FunctionDef], list[str]]:
    """Return imports and constants, all kernels by name, and the tick page's calls in order."""
    paths = [SIM / "events.py", SIM / "places.py", *sorted((SIM / "kernels").glob("*.py"))]
    header: dict[str, None] = {
        "import numpy as np": None,
        "import numpy.typing as npt": None,
    }
    kernels: dict[str, ast.FunctionDef] = {}
    for path in paths:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                if node.name in kernels:
                    raise ValueError(f"expected every kernel name once, found {node.name} twice")
                kernels[node.name] = node
            elif isinstance(node, ast.Assign) or _is_foreign_import(node):
                header[ast.unparse(node)] = None
    page = next(
        node
        for node in ast.parse((SIM / "tick.py").read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == "tick"
    )
    calls = [node.value for node in page.body if isinstance(node, ast.Expr)]
    order = [
        call.func.id
        for call in calls
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
    ]
    return list(header), kernels, order


def _is_foreign_import(node: ast.stmt) -> bool:
    own = ("townlet_env.sim.events", "townlet_env.sim.places", "townlet_env.sim.kernels")
    return isinstance(node, ast.ImportFrom) and not (node.module or "").startswith((*own, "__"))


def functions_of(kernels: dict[str, ast.FunctionDef]) -> dict[str, Function]:
    """Return what each kernel needs of the state, its callees included."""
    needed = {name: _touched(node) for name, node in kernels.items()}
    called = {name: _called(node) & kernels.keys() for name, node in kernels.items()}
    for _ in kernels:  # longer than any chain of calls
        for name, others in called.items():
            needed[name] = needed[name].union(*(needed[other] for other in others))
    return {
        name: Function(node, [group for group in GROUPS if group in needed[name]])
        for name, node in kernels.items()
    }


def _called(node: ast.FunctionDef) -> set[str]:
    calls = [part for part in ast.walk(node) if isinstance(part, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)}


def _touched(node: ast.FunctionDef) -> set[str]:
    parts = [part for part in ast.walk(node) if isinstance(part, ast.Attribute) and _is_field(part)]
    return {GROUP_OF[part.attr] for part in parts}


def _is_field(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("world", "outcome")
    )


class _Rewrite(ast.NodeTransformer):
    """Fields of one record to elements of arrays of worlds."""

    def __init__(self, functions: dict[str, Function]) -> None:
        self.functions = functions

    def _field(self, node: ast.expr) -> ast.expr:
        field = node.attr if isinstance(node, ast.Attribute) else ""
        return ast.Attribute(ast.Name(GROUP_OF[field], ast.Load()), field, ast.Load())

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if not _is_field(node.value):
            return self.generic_visit(node)
        inner = self.visit(node.slice)
        indices = inner.elts if isinstance(inner, ast.Tuple) else [inner]
        index = ast.Tuple([ast.Name("w", ast.Load()), *indices], ast.Load())
        return ast.Subscript(self._field(node.value), index, node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        if not _is_field(node):
            return self.generic_visit(node)
        return ast.Subscript(self._field(node), ast.Name("w", ast.Load()), node.ctx)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in self.functions:
            groups = self.functions[node.func.id].groups
            state = [ast.Name(name, ast.Load()) for name in (*groups, "w") if groups]
            rest = [arg for arg in node.args if not _is_state(arg)]
            node.args = [*state, *rest]
        return node


def _is_state(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("world", "outcome")


def rewrite() -> str:
    """Return the source of the whole simulation in the other layout."""
    header, kernels, order = read_sources()
    functions = functions_of(kernels)
    lines = [
        *header,
        "from typing import Any, NamedTuple",
        "from townlet_env.jit import kernel",
        "",
    ]
    for group, fields in GROUPS.items():
        lines += [f"class {group.title()}(NamedTuple):", *(f"    {f}: Any" for f in fields), ""]
    for name in _callees_first(functions):
        lines += [_function(functions[name], name in (*order, *OBSERVERS), functions), ""]
    return "\n".join([*lines, _page(functions, order)])


def _callees_first(functions: dict[str, Function]) -> list[str]:
    done: list[str] = []

    def visit(name: str) -> None:
        for other in sorted(_called(functions[name].node) & functions.keys() - {name}):
            visit(other)
        if name not in done:
            done.append(name)

    for name in functions:
        visit(name)
    return done


def _function(function: Function, loops: bool, functions: dict[str, Function]) -> str:
    nodes = [_Rewrite(functions).visit(node) for node in function.node.body[1:]]
    text = "\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in nodes).split("\n")
    parameters, groups = function.parameters, function.groups
    if not loops:
        state = [*groups, "w"] if groups else []
        head = f"@kernel\ndef {function.node.name}({', '.join([*state, *parameters])}):"
        return "\n".join([head, *(f"    {line}" for line in text)])
    per_world = [name for name in parameters if name not in ("rules", "distance")]
    every = [f"every_{name}" if name in per_world else name for name in parameters]
    head = f"@kernel\ndef {function.node.name}({', '.join([*groups, *every])}):"
    picks = [f"        {name} = every_{name}[w]" for name in per_world]
    loop = "    for w in range(town.n_residents.shape[0]):"
    return "\n".join([head, loop, *picks, *(f"        {line}" for line in text)])


def _page(functions: dict[str, Function], order: Sequence[str]) -> str:
    """Return the tick page: every kernel over all worlds, then the next kernel."""
    groups = ", ".join(GROUPS)
    arguments = {"orders": "orders", "mask": "views.action_mask", "grid": "grids"}
    arguments |= {"maps": "views.map", "features": "views.features"}

    def call(name: str) -> str:
        rest = [arguments.get(parameter, parameter) for parameter in functions[name].parameters]
        return f"    {name}({', '.join([*functions[name].groups, *rest])})"

    decay = ", ".join(functions["decay_needs"].groups)
    potential = functions["potential"]
    first = ", ".join([*potential.groups, "w", *potential.parameters])
    return "\n".join(
        [
            "@kernel",
            f"def observe({groups}, rules, grids, distance, views):",
            *(call(name) for name in OBSERVERS),
            "",
            "@kernel",
            f"def step_worlds({groups}, rules_table, orders, grids, distance, views):",
            "    rules = rules_table[0]",
            *(call(name) for name in order),
            f"    observe({groups}, rules, grids, distance, views)",
            "",
            "@kernel",
            f"def open_worlds({groups}, rules_table, grids, distance, views):",
            "    rules = rules_table[0]",
            "    for w in range(town.n_residents.shape[0]):",
            "        for i in range(town.n_residents[w]):",
            f"            residents.potential[w, i] = potential({first})",
            f"    observe({groups}, rules, grids, distance, views)",
            "",
            "@kernel",
            f"def decay_often({decay}, rules_table, times):",
            "    for _ in range(times):",
            f"        decay_needs({decay}, rules_table[0])",
            "",
        ]
    )
