"""An older opskit under test: its SQL, and what of today's rules it breaks."""
