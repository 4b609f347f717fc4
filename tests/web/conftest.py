"""Fixtures of the page: one opened over a test's database, a database with something of everything, who signs in."""

from tests.support.dashboard import components_scanned_once, full, open_page, signed_in

__all__ = ["components_scanned_once", "full", "open_page", "signed_in"]
