"""`TYPE_CHECKING` and `NamedTuple` without `typing`, whose import takes as long as Python's start.

Type checkers see the real ones. At run time `TYPE_CHECKING` is the constant that it always is, and
`NamedTuple` makes the same classes as far as this package uses them: immutable tuples with named
fields, defaults, keywords, `_fields`, `_replace` and `_asdict`. A test compares the two.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Self
    from typing import NamedTuple as NamedTuple  # noqa: PLC0414 - exported
else:
    from _operator import itemgetter  # `operator` is its slower half

    class _Fields(type):
        """Turns the annotations of a class into the fields of a tuple."""

        def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> type:
            if not bases:
                return super().__new__(cls, name, (tuple,), namespace)
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace[field] for field in fields if field in namespace}
            for position, field in enumerate(fields):
                namespace[field] = property(itemgetter(position))
            more = {"__slots__": (), "_fields": fields, "_field_defaults": defaults}
            return super().__new__(cls, name, bases, {**namespace, **more})

    class NamedTuple(metaclass=_Fields):
        """A tuple with named fields, as `typing.NamedTuple`."""

        __slots__ = ()

        def __new__(cls, *values: Any, **named: Any) -> Self:
            """Take the fields' values by position and by name."""
            if named or len(values) != len(cls._fields):
                values = cls._completed(values, named)
            return tuple.__new__(cls, values)

        @classmethod
        def _completed(cls, values: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
            given = dict(zip(cls._fields, values, strict=False))
            unknown = [name for name in named if name not in cls._fields or name in given]
            found = {**cls._field_defaults, **given, **named}
            missing = [name for name in cls._fields if name not in found]
            if unknown or missing or len(values) > len(cls._fields):
                raise TypeError(
                    f"{cls.__name__}: {len(values)} values, missing {missing}, unknown {unknown}"
                )
            return [found[name] for name in cls._fields]

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            pairs = zip(self._fields, self, strict=True)
            inside = ", ".join(f"{name}={value!r}" for name, value in pairs)
            return f"{type(self).__name__}({inside})"

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **named: Any) -> Self:
            return type(self)(**{**self._asdict(), **named})
