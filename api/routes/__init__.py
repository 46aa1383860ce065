"""The paths under /api/v1: every module here that has a `router` is served."""
