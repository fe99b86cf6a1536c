"""Doorward: decides, for every person joining an online meeting, admit, remove or alert.

Rooms (arrows point one way; import-linter keeps it): ``cli → app → agents → {runtime, adapters, wire} → core``.
"""

__version__ = "0.1.0"
