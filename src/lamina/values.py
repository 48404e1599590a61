"""`dataclass`, as the standard library's, for classes that are declared at every start.

The standard decorator writes source code for each class and compiles it: about half a millisecond
a class, half of what all imports of `lamina run` cost together. This one attaches methods that
loop over the fields instead: declaring costs next to nothing, making an instance a microsecond or
two more. Where very many instances are made (a tar's entries), the standard one stays.

Understood are `frozen`, `order`, `slots`, `eq`, `repr`; fields with a default, `default_factory`,
`repr=False`, `compare=False`; inheritance; `__post_init__`; the functions `dataclasses.replace`,
`asdict` and `fields`. Type checkers see the standard decorator.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
    from dataclasses import field as field
else:
    from dataclasses import field  # noqa: F401

    def dataclass(cls=None, /, *, frozen=False, order=False, slots=False, eq=True, repr=True):
        """Turn an annotated class into a value; see the module."""

        def turn(cls):
            return _turned(cls, frozen, order, slots, eq, repr)

        return turn if cls is None else turn(cls)


_MISSING: Any = dataclasses.MISSING
_KIND: Any = dataclasses._FIELD  # type: ignore[attr-defined]
_FIELDS = "__dataclass_fields__"
_set = object.__setattr__


def _turned(
    cls: type[Any], frozen: bool, order: bool, slots: bool, eq: bool, repr: bool
) -> type[Any]:
    fields: dict[str, dataclasses.Field[Any]] = {}
    for base in cls.__mro__[-1:0:-1]:
        fields.update(base.__dict__.get(_FIELDS, {}))
    own = _annotations(cls)
    for name, kind in own.items():
        if kind.startswith(("ClassVar", "typing.ClassVar")):
            continue
        found = _field(cls, name)
        found.name, found.type, found._field_type = name, kind, _KIND  # type: ignore[attr-defined]
        fields[name] = found
    methods: dict[str, Any] = {
        _FIELDS: fields,
        "__dataclass_params__": None,
        "__match_args__": tuple(fields),
        "__init__": _initializer(fields, slots or frozen, hasattr(cls, "__post_init__")),
    }
    compared = tuple(name for name, found in fields.items() if found.compare)
    if repr:
        methods["__repr__"] = _representer(tuple(n for n, found in fields.items() if found.repr))
    if eq:
        methods["__eq__"] = _equality(compared)
        methods["__hash__"] = _hasher(compared) if frozen else None
    if order:
        methods |= _orders(compared)
    if frozen:
        methods |= {"__setattr__": _refuse_set, "__delattr__": _refuse_delete}
    for name, method in methods.items():
        if name not in cls.__dict__ or name in (_FIELDS, "__hash__"):
            if name == "__hash__" and cls.__dict__.get(name) is not None:
                continue  # written by hand (a class with __eq__ alone gets None from Python)
            setattr(cls, name, method)
    return _slotted(cls, tuple(own)) if slots else cls


def _annotations(cls: type[Any]) -> dict[str, str]:
    # Not inspect.get_annotations: importing inspect costs as much as this module saves on a class.
    found: dict[str, str] = vars(cls).get("__annotations__", {})
    return found


def _field(cls: type[Any], name: str) -> dataclasses.Field[Any]:
    default = cls.__dict__.get(name, _MISSING)
    if isinstance(default, dataclasses.Field):
        if default.default is _MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, default.default)
        return default
    found: dataclasses.Field[Any] = dataclasses.field(default=default)
    return found


def _initializer(fields: dict[str, dataclasses.Field[Any]], guarded: bool, post: bool) -> Any:
    names = tuple(fields)
    known = frozenset(names)
    defaults = {
        name: found.default for name, found in fields.items() if found.default is not _MISSING
    }
    factories: dict[str, Any] = {
        name: found.default_factory
        for name, found in fields.items()
        if found.default_factory is not _MISSING
    }
    required = tuple(name for name in names if name not in defaults and name not in factories)
    put = _set if guarded else setattr

    def __init__(self: Any, *args: Any, **given: Any) -> None:
        if args:
            if len(args) > len(names):
                raise TypeError(
                    f"{type(self).__name__}() takes {len(names)} arguments, not {len(args)}"
                )
            positional = dict(zip(names, args, strict=False))
            if not given.keys().isdisjoint(positional):
                twice = next(iter(given.keys() & positional))
                raise TypeError(f"{type(self).__name__}() got {twice!r} twice")
            given |= positional
        if not given.keys() <= known:
            unknown = next(iter(given.keys() - known))
            raise TypeError(f"{type(self).__name__}() got an unexpected argument {unknown!r}")
        for name in names:
            if name in given:
                put(self, name, given[name])
            elif name in defaults:
                put(self, name, defaults[name])
            elif name in factories:
                put(self, name, factories[name]())
            else:
                missing = ", ".join(name for name in required if name not in given)
                raise TypeError(f"{type(self).__name__}() lacks arguments: {missing}")
        if post:
            self.__post_init__()

    return __init__


def _representer(names: tuple[str, ...]) -> Any:
    def __repr__(self: Any) -> str:
        inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"{type(self).__qualname__}({inner})"

    return __repr__


def _equality(names: tuple[str, ...]) -> Any:
    def __eq__(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in names)

    return __eq__


def _hasher(names: tuple[str, ...]) -> Any:
    def __hash__(self: Any) -> int:
        return hash(tuple(getattr(self, name) for name in names))

    return __hash__


def _orders(names: tuple[str, ...]) -> dict[str, Any]:
    import operator

    def comparison(compare: Any) -> Any:
        def method(self: Any, other: object) -> Any:
            if other.__class__ is not self.__class__:
                return NotImplemented
            return compare(
                tuple(getattr(self, name) for name in names),
                tuple(getattr(other, name) for name in names),
            )

        return method

    return {f"__{name}__": comparison(getattr(operator, name)) for name in ("lt", "le", "gt", "ge")}


def _refuse_set(self: Any, name: str, value: object) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


def _slotted(cls: type[Any], own: tuple[str, ...]) -> type[Any]:
    """The same class with slots: they can only be given when a class is made."""
    names = tuple(name for name in own if name in cls.__dict__[_FIELDS])
    contents = {
        key: value
        for key, value in cls.__dict__.items()
        if key not in names and key not in ("__dict__", "__weakref__")
    }
    contents["__slots__"] = names
    metaclass: Any = type(cls)
    made: type[Any] = metaclass(cls.__name__, cls.__bases__, contents)
    made.__qualname__ = cls.__qualname__
    return made
