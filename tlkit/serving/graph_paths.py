"""Where a graph's values come from and what a fetch runs, through the functions that it calls; needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_VARIABLE_USERS = ("VarIsInitializedOp", "AssignVariableOp", "ReadVariableOp")


class GraphPaths:
    """Follows the edges of one MetaGraphDef, which may be hostile.

    Example:
        >>> paths = GraphPaths(meta)
        >>> [node.op for _, node in paths.reached(["save/restore_all"])]
        ['NoOp', 'Assign', 'RestoreV2']

    Args:
        meta: a MetaGraphDef.

    Raises:
        ValueError: names are not unique; TensorFlow would not load it either.
    """

    def __init__(self, meta: Any):
        self._functions = {function.signature.name: function for function in meta.graph_def.library.function}
        # Names are unique in a body only. The graph itself is the body None.
        self._bodies: dict[str | None, dict[str, Any]] = {None: {node.name: node for node in meta.graph_def.node}}
        for name, function in self._functions.items():
            self._bodies[name] = {node.name: node for node in function.node_def}
        if sum(map(len, self._bodies.values())) != sum(1 for _ in _every_node(meta)):
            raise ValueError("two nodes or functions have the same name")
        self._callers: dict[str, list[tuple[str | None, Any]]] = {}
        for body, node in self.nodes():
            for name in self._called(node):
                self._callers.setdefault(name, []).append((body, node))

    def nodes(self) -> Iterator[tuple[str | None, Any]]:
        """Yield every node with the name of the function that it is in, or None."""
        for body, nodes in self._bodies.items():
            for node in nodes.values():
                yield body, node

    def reached(self, fetches: Iterable[str]) -> Iterator[tuple[str | None, Any]]:
        """Yield every node that may run when these of the graph's tensors or operations are fetched.

        All of a called function counts.
        """
        pending = [node_name(name) for name in fetches]
        seen: set[str] = set()
        functions: list[str] = []
        while pending:
            name = pending.pop()
            node = self._bodies[None].get(name)
            if name in seen or node is None:
                continue
            seen.add(name)
            yield None, node
            pending.extend(node_name(source) for source in node.input)
            functions.extend(self._called(node))
        entered: set[str] = set()
        while functions:
            name = functions.pop()
            if name in entered:
                continue
            entered.add(name)
            for node in self._bodies[name].values():
                yield name, node
                functions.extend(self._called(node))

    def comes_from(self, body: str | None, tensor: str, sources: Collection[str]) -> bool:
        """Say whether a value can be nothing but what is fed to one of some nodes of the graph.

        A value may be handed on as it is, to functions too, and wait in a variable that nothing else writes.

        Args:
            body: the function in which the value is used, or None.
            tensor: its name there.
            sources: names of nodes.
        """
        pending, seen = [(body, tensor)], set()
        while pending:
            body, tensor = pending.pop()
            name = node_name(tensor)
            if (body, name) in seen or (body is None and name in sources):
                continue
            seen.add((body, name))
            found = self._origins(body, name, sources)
            if found is None:
                return False
            pending.extend(found)
        return True

    def _origins(self, body: str | None, name: str, sources: Collection[str]) -> list[tuple[str | None, str]] | None:
        """Return the values of which this one is a copy, or None where it is made here."""
        node = self._bodies[body].get(name)
        if node is None:
            return self._arguments(body, name)
        if node.op == "Identity":
            return [(body, node.input[0])]
        if node.op == "ReadVariableOp" and body is None:
            return self._assigned(node_name(node.input[0]), sources)
        return None

    def _arguments(self, body: str | None, name: str) -> list[tuple[str | None, str]] | None:
        """Return what the callers of a function give as this argument."""
        if body is None:
            return None
        names = [argument.name for argument in self._functions[body].signature.input_arg]
        if name not in names:
            return None
        found = []
        for caller, node in self._callers.get(body, ()):
            plain = node.op == body or (node.op in _CALLS and node.attr["f"].func.name == body)
            if not plain or len(node.input) <= names.index(name):
                return None
            found.append((caller, node.input[names.index(name)]))
        return found

    def _assigned(self, variable: str, sources: Collection[str]) -> list[tuple[str | None, str]] | None:
        """Return what is assigned to a variable of the graph, if its handle is used for nothing else."""
        node = self._bodies[None].get(variable)
        if node is None or node.op != "VarHandleOp":
            return None
        same = [one for _, one in self.nodes() if one.op == "VarHandleOp" and _shared_name(one) == _shared_name(node)]
        if len(same) > 1:
            return None
        found: list[tuple[str | None, str]] = []
        for user in self._bodies[None].values():
            if variable not in map(node_name, user.input):
                continue
            if user.op not in _VARIABLE_USERS:
                return None
            if user.op == "AssignVariableOp":
                source = self._bodies[None].get(node_name(user.input[1]))
                # A placeholder has no value but the one that is fed: nothing can be assigned at another time.
                if source is None or source.op != "Placeholder" or source.name not in sources:
                    return None
                found.append((None, source.name))
        return found or None

    def _called(self, node: Any) -> list[str]:
        names = [node.op]
        for value in node.attr.values():
            names.append(value.func.name)
            names.extend(function.name for function in value.list.func)
        return [name for name in names if name in self._functions]


def node_name(tensor: str) -> str:
    """Return the name of the node that makes a tensor.

    >>> node_name("^scope/add:0")
    'scope/add'
    """
    return tensor.removeprefix("^").partition(":")[0]


def _every_node(meta: Any) -> Iterator[Any]:
    yield from meta.graph_def.node
    for function in meta.graph_def.library.function:
        yield from function.node_def


def _shared_name(node: Any) -> tuple[bytes, bytes]:
    return node.attr["container"].s, node.attr["shared_name"].s or node.name.encode()
