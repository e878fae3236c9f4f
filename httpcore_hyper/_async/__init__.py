"""The pools of one door. `_async` is written by hand, `_sync` generated from it by scripts/sync.py."""
