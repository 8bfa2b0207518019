"""Ingest: files from anywhere -> checked, decoded once, grouped by near-duplicates."""
