"""Checks of what a user hands in: config values, data, numbers of classes, and errors while a config is built.

Nothing is imported here, so that each check loads only what it needs.
"""
