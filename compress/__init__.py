"""Teacher in, compressed student out. This file imports nothing, so that help appears at once."""
