"""A worker that keeps the last value of every key of its input in a chunked table, and nothing else.

Run by the table tests, and by hand to measure recovery. It prints one JSON object a line: `loading` when partitions are
to be taken on, `assigned` when they were, `dump` when told by a record with the key `dump`, `healed` when it has said
spoiled keys again. A value `-` deletes. With `--mortal`, once a record with the key `die` came, the next write ends by
SIGKILL between the acknowledgement and the disk.
"""

import argparse
import asyncio
import hashlib
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from streams.runtime import process
from streams.runtime.application import ChunkedApp
from streams.runtime.config import faust_options
from streams.runtime.produce import Outbox
from streams.runtime.tables import Changes


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def digest(rows):
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "name", "data"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--standbys", type=int, default=0)
    parser.add_argument("--retention", type=float, default=86_400.0)
    parser.add_argument("--mortal", action="store_true")
    parser.add_argument("--slow-load", type=float, default=0.0)
    parser.add_argument("--fail-load", action="store_true")
    parser.add_argument("--poll-interval", type=float, default=120.0)
    args = parser.parse_args()
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr
    )
    started = time.time()
    views: dict[int, dict[bytes, bytes]] = {}
    heal = Changes()

    async def assigned(partitions):
        began = time.time()
        if args.fail_load:
            raise ValueError("it can not be loaded")
        mine = sorted(p.partition for p in partitions)
        say("loading", partitions=mine)
        await asyncio.sleep(args.slow_load)
        for partition in mine:
            view = views[partition] = {}
            for number, (key, value) in enumerate(table.rows(partition)):
                view[key] = value
                if number % 5_000 == 4_999:
                    await asyncio.sleep(0)
        for partition in mine:
            table.own(partition, app.consumer_generation_id)
            for key in table.overwritten(partition):
                heal.put(partition, key, views[partition].get(key))
        if heal:
            app.source.ask_turn()
        recovery = app.tables.recovery
        say(
            "assigned",
            partitions=mine,
            rows=sum(map(len, views.values())),
            loading=round(time.time() - began, 3),
            recovering=round((recovery._recovery_ended_at or 0) - (recovery._recovery_started_at or 0), 3),
            since_start=round(time.time() - started, 3),
            changelog=sorted(tp.partition for tp in app.consumer.assignment() if tp.topic == table.changelog),
            standby=sorted(tp.partition for tp in recovery.standby_tps),
            **counters(),
        )

    def counters():
        return {name: getattr(table, name) for name in ("recovered", "stale", "undecodable", "rebuilt")}

    app = ChunkedApp(
        f"{args.name}-group",
        sources={f"{args.name}-in"},
        assigned=assigned,
        forgotten=views.clear,
        **faust_options(
            bootstrap=args.bootstrap,
            client_id=Path(args.data).name,
            data_dir=Path(args.data),
            standby_replicas=args.standbys,
            max_poll_interval=args.poll_interval,
        ),
    )
    table = app.chunked_table(
        "rows", partitions=args.partitions, changelog=f"{args.name}-changelog", delete_retention=args.retention
    )

    async def write(changes, chunk, outbox, *, die=False):
        while changes:
            table.add_to(outbox, changes)
            acks = await outbox.send(chunk.check)
            if die:
                os.kill(os.getpid(), signal.SIGKILL)
            spoiled = table.persist(changes, acks)
            changes = Changes()
            if spoiled:
                keys = await table.foreign_keys(spoiled)
                for partition, theirs in keys.items():
                    for key in theirs:
                        changes.put(partition, key, views[partition].get(key))
                say("healed", keys=sorted(key.decode() for theirs in keys.values() for key in theirs))

    @app.agent(app.chunks)
    async def keep(chunks):
        nonlocal heal
        die = False
        outbox = Outbox(app.batches)
        async for chunk in chunks:
            with chunk:
                changes, heal, dumped = heal, Changes(), False
                for tp, records in chunk.parts.items():
                    view = views[tp.partition]
                    for record in records:
                        if record.key == b"dump":
                            dumped = True
                        elif record.key == b"die":
                            die = args.mortal
                        else:
                            value = None if record.value == b"-" else record.value
                            changes.put(tp.partition, record.key, value)
                            if value is None:
                                view.pop(record.key, None)
                            else:
                                view[record.key] = value
                await write(changes, chunk, outbox, die=die)
                if dumped:
                    dump()

    def dump():
        for partition, view in sorted(views.items()):
            rows = list(table.rows(partition))
            say("dump", partition=partition, rows=len(rows), disk=digest(rows), view=digest(view.items()), **counters())

    app.source.open()
    process.run(app)


if __name__ == "__main__":
    main()
