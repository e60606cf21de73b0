"""Pixels and picture files. Knows no model and no page."""
