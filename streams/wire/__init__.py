"""Bytes to core and back. No network, no clock: what is here is a function of its arguments.

``strictjson`` says whether bytes are JSON and how deep; ``cloudevents`` reads records of ``joins`` and writes
decisions; ``deadletter`` shapes what could not be decided; ``documents``, ``jws`` and ``trust`` read policy.
"""
