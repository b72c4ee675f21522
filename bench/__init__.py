"""Measurements of what the system promises, each against its raw limit or a peer in the same run."""
