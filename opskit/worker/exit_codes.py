"""The exit codes by which a child tells its supervisor why it has ended."""

from __future__ import annotations

EXIT_WORN = 73
"""Its processor has left something behind: another process goes on."""
EXIT_DONE = 74
"""There is nothing left to do."""
EXIT_DEPOSED = 75
"""Another boot of its server ID is registered."""
EXIT_USELESS = 78
"""Its processor cannot be loaded."""
EXIT_NOT_CLAIMABLE = 79
"""The one file that it was to process cannot be claimed."""
EXIT_BROKEN = 80
"""The breaker is open, and it was to end when the queue is empty."""
