"""Files of a bundle that several tests write."""

from __future__ import annotations

LOGGING = """\
[loggers]
keys=root
[handlers]
keys=console
[formatters]
keys=plain
[logger_root]
level=INFO
handlers=console
[handler_console]
class=StreamHandler
args=(sys.stdout,)
[formatter_plain]
format=%(asctime)s %(message)s
"""
