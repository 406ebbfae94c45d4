"""What has no subject of its own: seeds, memory, results streamed to disk."""
