"""Thin agents: decode, look up, decide, emit. What they decide with comes in; what they emit goes out acknowledged."""
