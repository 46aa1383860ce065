"""Errors that point at the field of the request that is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from milo.errors import Invalid, MiloError

P = ParamSpec("P")
T = TypeVar("T")


def pointed(detail: str, field: str, code: str) -> Invalid:
    """`Invalid` that points at a field of the request."""
    return Invalid(detail, code=code, errors=[{"detail": detail, "pointer": f"#/{field}"}])


def pointing_at(field: str, check: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the check returns; what it refuses, with a pointer."""
    try:
        return check(*args, **kwargs)
    except MiloError as error:
        error.errors = error.errors or [{"detail": error.detail, "pointer": f"#/{field}"}]
        raise


@contextmanager
def pointers_below(field: str) -> Iterator[None]:
    """What is wrong with a part of the request, by pointers into the whole."""
    try:
        yield
    except MiloError as error:
        for one in error.errors or ():
            if "pointer" in one:
                one["pointer"] = one["pointer"].replace("#/", f"#/{field}/", 1)
        raise
