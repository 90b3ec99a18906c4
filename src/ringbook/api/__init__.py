"""The edge where apps arrive: one table of routes, one way through it, and all spelling in `wire.py`."""
