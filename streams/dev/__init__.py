"""The sandbox: an embedded Kafka, workers under a supervisor, a traffic generator and the demo.

May use every other room; nothing but ``cli`` uses this one. Nothing here runs in production.
"""
