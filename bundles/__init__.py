"""Shipped bundles: one folder a task, built from delineate.configs."""
