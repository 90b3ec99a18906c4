"""The dashboard: an edge at which admins arrive. Pages are made here; what they change is changed by `core/`."""
