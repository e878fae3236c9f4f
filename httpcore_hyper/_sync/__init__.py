# Generated from _async/__init__.py by scripts/sync.py. Not edited by hand.
"""The pools of one door. `_async` is written by hand, `_sync` generated from it by scripts/sync.py."""
