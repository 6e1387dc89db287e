"""Pseudo-labels: made by engines shard by shard, kept as shards with an index, checked and moved."""
