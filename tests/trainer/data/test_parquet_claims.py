"""A Parquet file of some kilobytes that claims gigabytes is refused by its footer."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from milo.errors import Invalid
from trainer.data import parquet_claims
from trainer.data.parquet_claims import check_parquet


def test_a_file_that_unpacks_to_gigabytes_is_refused_and_an_ordinary_one_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_claims, "ALWAYS_BYTES", 2**20)
    ordinary, bomb = tmp_path / "ordinary.parquet", tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"text": [f"line {n}" for n in range(1000)]}), ordinary)
    check_parquet([ordinary, tmp_path / "notes.txt"])
    row = pa.table({"text": ["x" * 2**20] * 4})
    with pq.ParquetWriter(bomb, row.schema, compression="zstd", use_dictionary=False) as writer:
        for _ in range(2):
            writer.write_table(row)
    assert bomb.stat().st_size < 2**14
    with pytest.raises(Invalid, match=r"bomb\.parquet claims 8 rows of 1 columns"):
        check_parquet([bomb])


def test_what_is_no_parquet_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing more")
    check_parquet([tmp_path / "x.parquet"])
