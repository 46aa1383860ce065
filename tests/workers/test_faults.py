"""What an exception of the work means for its job."""

from __future__ import annotations

from workers.faults import to_milo_error


def test_a_package_that_is_not_installed_is_named_with_what_to_do() -> None:
    error = to_milo_error(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert error.code == "not_installed" and not error.retryable
    assert "torch" in error.detail and "make env" in error.detail
