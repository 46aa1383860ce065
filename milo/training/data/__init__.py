"""Data sets as they lie on the disk: tables, columns, the layouts that others use, splits. Opens no audio."""
