"""What the footer of a Parquet file claims, looked at before its pages are unpacked: some bytes may claim terabytes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from milo.errors import Invalid

MOST_ROWS = 50_000_000
MOST_COLUMNS = 1_000
GROWTH = 100
"""How many times its size on disk a file may be in memory: recordings are packed already, and texts by far less."""
ALWAYS_BYTES = 2**30


def check_parquet(paths: Iterable[str | Path]) -> None:
    """Raises `Invalid` (bad_data) for one that claims more than files of its size hold. What is no Parquet is left to
    whoever reads it."""
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    for path in (Path(one) for one in paths):
        if path.suffix.lower() != ".parquet":
            continue
        try:
            footer = pyarrow.parquet.read_metadata(path)
        except (pyarrow.ArrowException, OSError):
            continue
        unpacked = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
        most = ALWAYS_BYTES + GROWTH * path.stat().st_size
        if footer.num_rows > MOST_ROWS or footer.num_columns > MOST_COLUMNS or not 0 <= unpacked <= most:
            raise Invalid(
                f"{path.name} claims {footer.num_rows} rows of {footer.num_columns} columns, {unpacked} bytes "
                f"unpacked; a file of {path.stat().st_size} bytes may hold {MOST_ROWS} rows and {most} bytes",
                code="bad_data",
            )
