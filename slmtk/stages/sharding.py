"""One of several runs that share an output folder, on the ways audio -> codes and text -> speech."""

from __future__ import annotations

from slmtk.errors import ConfigError


def shard_of(shard_id: int | None, num_shards: int | None, *, overwrite: bool) -> tuple[int, int] | None:
    """Return which of how many shards a run makes, or None if it makes all.

    Args:
        shard_id: 0 .. ``num_shards`` - 1.
        num_shards: runs with the same output.
        overwrite: whether the run deletes what it finds there.

    Raises:
        ConfigError: the three do not go together.
    """
    if shard_id is None and num_shards is None:
        return None
    if shard_id is None or num_shards is None:
        raise ConfigError("--shard-id and --num-shards belong together; give both or neither")
    if not 0 <= shard_id < num_shards:
        raise ConfigError(f"--shard-id {shard_id} must be one of 0 .. {num_shards - 1}")
    if overwrite:
        raise ConfigError("--overwrite would delete what other shards have made; delete OUT before they start")
    return shard_id, num_shards
