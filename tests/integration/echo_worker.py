"""The smallest worker on `streams.runtime`: says every record again, on the partition it came from.

Run by the ledger tests, and by hand to measure the runtime itself. A record whose value ends with `poison` raises
when `--poison` is given. `--slow` sleeps that many seconds in every chunk, between reading and writing, and says when
it begins to.
"""

import argparse
import asyncio
import logging
import resource
import sys
import time
from pathlib import Path

from streams.runtime import process
from streams.runtime.application import ChunkedApp
from streams.runtime.config import faust_options
from streams.runtime.produce import Outbox
from streams.runtime.thread import FetchSettings


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "group", "input", "output", "data", "client-id"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--poison", action="store_true")
    parser.add_argument("--slow", type=float, default=0.0)
    parser.add_argument("--patience", type=float, default=60.0)
    parser.add_argument("--pace", type=float, default=FetchSettings().pace)
    parser.add_argument("--most", type=int, default=FetchSettings().most)
    parser.add_argument("--measure", type=int, default=0, help="print the cost of this many records, then stop")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)

    async def assigned(partitions):
        print("assigned", sorted(p.partition for p in partitions), flush=True)

    app = ChunkedApp(
        args.group,
        sources={args.input},
        assigned=assigned,
        forgotten=lambda: print("forgotten", flush=True),
        fetch=FetchSettings(pace=args.pace, most=args.most),
        patience=args.patience,
        **faust_options(bootstrap=args.bootstrap, client_id=args.client_id, data_dir=Path(args.data)),
    )
    meter = Meter(args.measure)

    @app.agent(app.chunks)
    async def echo(chunks):
        outbox = Outbox(app.batches)
        async for chunk in chunks:
            with chunk:
                assert len(chunk) <= args.most
                if args.slow:
                    print("slow", flush=True)
                    await asyncio.sleep(args.slow)
                now = time.time_ns() // 1_000_000
                for partition, records in chunk.parts.items():
                    for record in records:
                        if args.poison and record.value.endswith(b"poison"):
                            raise ValueError("poison")
                        outbox.add(args.output, partition.partition, record.key, record.value, now)
                await outbox.send(chunk.check)
            meter.count(len(chunk))

    app.source.open()
    process.run(app)


class Meter:
    """Cost per record of a run of records, after a warm-up of a tenth of it."""

    def __init__(self, records: int) -> None:
        self.records = records
        self.seen = 0
        self.begun: tuple[int, float, float] | None = None

    def count(self, records: int) -> None:
        self.seen += records
        if not self.records or self.seen < self.records // 10:
            return
        usage = resource.getrusage(resource.RUSAGE_SELF)
        at = self.seen, time.perf_counter(), usage.ru_utime + usage.ru_stime
        if self.begun is None:
            self.begun = at
        elif at[0] - self.begun[0] >= self.records:
            n, wall, cpu = (now - then for now, then in zip(at, self.begun, strict=True))
            print(
                f"MEASURED {n} records {n / wall:.0f}/s {cpu / n * 1e6:.2f} us",
                flush=True,
            )
            self.records = 0


if __name__ == "__main__":
    main()
