"""The pure core: what a rule can say, and why a verdict came out.

What may live here: values and functions over them. No clock, no I/O, no logging, no metrics, no asyncio, no Kafka;
the standard library and msgspec only. Whatever the world knows (time, geography, the ISO vocabulary, who signed)
comes in as an argument, so that the worker, ``doorward decide`` and the tests run the very same code.

Reading order: ``address`` → ``facts`` → ``policy`` → ``index`` → ``decide`` → ``receipts``;
then ``sessions`` → ``sweep`` → ``trials`` for calls that are live.
"""
