"""Networks trained alike and compared."""
