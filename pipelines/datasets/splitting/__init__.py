"""Splits and folds that never cut a group."""
