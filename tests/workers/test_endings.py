"""What a job's work raised, as the error that its owner reads."""

from __future__ import annotations

from workers.endings import as_milo


def test_a_package_that_is_not_installed_is_named_with_what_to_do() -> None:
    error = as_milo(ModuleNotFoundError("No module named 'torch'", name="torch"))
    assert error.code == "not_installed" and not error.retryable
    assert "torch" in error.detail and "make env" in error.detail
