"""Every setting: what it means, where it comes from, and what it may be.

A new setting is a field and a keyword in `variables.py`.
"""

from opskit.settings.masking import holds_secret, secret_variables
from opskit.settings.settings import Settings
from opskit.settings.variables import (
    DEFAULT_PROCESSOR,
    DEFAULT_TABLE,
    ENVIRONMENTS,
    LONGEST_TABLE_NAME,
    GivenSettings,
    OtherSettings,
    env_name,
)

__all__ = [
    "DEFAULT_PROCESSOR",
    "DEFAULT_TABLE",
    "ENVIRONMENTS",
    "LONGEST_TABLE_NAME",
    "GivenSettings",
    "OtherSettings",
    "Settings",
    "env_name",
    "holds_secret",
    "secret_variables",
]
