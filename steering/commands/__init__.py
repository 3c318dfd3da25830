"""The commands of `lens`."""
