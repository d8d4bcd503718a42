"""Labelled images and volumes that are drawn."""
