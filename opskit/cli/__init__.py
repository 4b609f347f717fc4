"""The command line: `opskit`."""
