"""The last checks before a table leaves."""
