"""Masks by an exported graph, where torch and MONAI are not installed: the same, from the same bundle."""
