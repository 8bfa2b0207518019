"""Cross-validate: one fold, trained, calibrated, and asked about what it holds out."""
