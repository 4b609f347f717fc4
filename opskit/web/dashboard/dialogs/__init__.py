"""The dialogs of the page, one for each act: what it changes, in which environment, and what it came to."""
