"""Codes on disk, between codec and dataset: Parquet parts, an index written last, and the reader of both."""

from slmtk.shards.reader import CodesFolder, open_codes, read_metadata, read_part
from slmtk.shards.rows import CodesRow, ShardInfo, check_row
from slmtk.shards.verify import verify
from slmtk.shards.writer import part_name, write_index, write_shard

__all__ = [
    "CodesFolder",
    "CodesRow",
    "ShardInfo",
    "check_row",
    "open_codes",
    "part_name",
    "read_metadata",
    "read_part",
    "verify",
    "write_index",
    "write_shard",
]
