"""What we add to Faust, and why.

Faust gives a worker its consumer group, assignor, rebalances, agents and tables. What it lacks for decisions that must
never be lost is exact commits: stock Faust acknowledges an event whose agent failed, commits past events in flight, and
costs 30 times a plain loop per record. So the source topics are subscribed by Faust and read by us, one *chunk* per
poll, and handed to an ordinary Faust agent. Three rules carry the rest:

1. We own the read position. Each ownership *epoch* begins with our own seek; what is dropped is read again.
2. An offset is committable only when everything before it was finished, in order, in the same epoch.
3. Nothing is written unless the group *lease* holds: last answered heartbeat plus session time-out, less a margin.
   What can't be written waits.

Tables keep a fourth: rows reach the disk after the changelog has them, so that a partition's files are always an exact
prefix of it, and can be thrown away.

Rooms: `positions` (the bookkeeping, pure), `source` (chunks, turns, lease, gate), `transport` and `thread` (most of the
overrides), `calls` (what is wrapped around aiokafka's own calls), `fence` (a last look before a batch leaves),
`application` (the Faust app and its channel), `tables` (written and recovered in batches), `frames` (their records,
pure), `store` (their files), `recovery` (changelogs, a poll at a time), `watchdog` (ends a process that hangs or may
not speak), `produce` (batches, acknowledged), `reader` (a log without a group), `lenient` (headers' names), `config`
(Faust's settings), `process` (loop, signals, exit).

Overrides of faust-streaming 0.15.3 (F), aiokafka 0.14.0 (A) and mode-streaming (M). The first two are pinned; each row
has a test in `tests/runtime/test_pinned_faust.py` that fails when what it leans on changes.

| override                               | leans on                                   | why |
|----------------------------------------|--------------------------------------------|-----|
| `App._new_transport`,                  | F app/base.py,                             | a |
| `Transport.Consumer`,                  | transport/drivers/aiokafka.py              |   |
| `Consumer._new_consumer_thread`        |                                            |   |
| `Consumer.subscribe`                   | F `Conductor._subscriber` calls it         | b |
| `Consumer._getmany`                    | F `Consumer._wait_next_records`            | c |
| `Consumer._wait_next_records`          | F `Consumer.getmany`,                      | q |
|                                        | A `GroupCoordinator.ensure_active_group`   |   |
| `Consumer.wait_empty`                  | F `App._consumer_wait_empty`               | d |
| `Consumer.on_partitions_revoked`       | F the same                                 | e |
| `Consumer.force_commit`                | F `Consumer.commit`, `_commit`             | f |
| `ConsumerThread.`                      | A `AIOKafkaConsumer._fetch_max_wait_ms`    | g |
| `_create_worker_consumer`              |                                            |   |
| `ConsumerThread.on_start` wraps        | A `GroupCoordinator._heartbeat_routine`,   | h |
| `_do_heartbeat`                        | `_send_req`                                |   |
| `ConsumerThread.on_start` wraps        | A `Fetcher._proc_fetch_request`            | t |
| `AIOKafkaClient.send`                  |                                            |   |
| `calls.install` replaces               | A `AIOKafkaClient._get_conn`, `send`       | v |
| `AIOKafkaConnection.connected` and     |                                            |   |
| `aiokafka.client.create_conn`          |                                            |   |
| `fence.install` wraps                  | A `Sender._sender_routine`,                | u |
| `Sender._send_produce_req` and         | `SendProduceReqHandler.do`,                |   |
| `AIOKafkaClient.send`                  | `AIOKafkaClient._get_conn`                 |   |
| `ConsumerThread.on_start` wraps        | A `Fetcher._fetch_requests_routine`        | i |
| `_proc_fetch_request`                  |                                            |   |
| `ConsumerThread.fetch`, not `getmany`  | F `_fetch_records`,                        | j |
|                                        | A `SubscriptionState.fetch_context`        |   |
| `ConsumerThread._reached`              | A `TopicPartitionState.position`           | o |
| `lenient.install` replaces             | A `Fetcher._proc_fetch_request`,           | p |
| `MemoryRecords` in aiokafka's fetcher  | `_DefaultRecordBatchPy._read_msg`          |   |
| `ConsumerThread.dead_part`             | A `Fetcher._fetch_task`,                   | k |
|                                        | `GroupCoordinator._coordination_task`      |   |
| `ChunkedTable._new_store`,             | F `Collection.data`,                       | r |
| `on_rebalance`, `send_changelog`       | `TableManager.on_rebalance`                |   |
| `PartitionStore._db_for_partition`,    | F `stores.rocksdb.Store`,                  | r |
| `_open_for_partition`,                 | `Recovery._add`                            |   |
| `persisted_offset`, `stop`             |                                            |   |
| `Replay` sets offsets and              | F `Recovery.need_recovery`,                | s |
| `signal_recovery_end`                  | `_restart_recovery`                        |   |
| `ChunkChannel.__anext__`, `_throw`     | F `StreamIterator`, with its setting       | l |
|                                        | `cython_optimizations` off (the default)   |   |
| `ChunkedApp.on_stop`,                  | F `App.on_stop`,                           | m |
| `process.Worker._schedule_shutdown`    | M `Worker`                                 |   |
| `Worker(override_logging=False)`       | M `Worker.default_on_first_start`          | n |

a  Factories.
b  Adds the source topics to Faust's own.
c  Takes source records and chunked tables' changelogs out of each poll. Copies the set of active partitions: F empties
   the live one while the other thread uses it, and A `fetched_records` reads an empty set as "all partitions". Seeks
   itself: A `seek_to_committed` moves nothing where nothing, or offset 0, is committed.
d  Drains the chunk in hand, for five seconds at most, and commits again when Faust's last commit only waited for an
   earlier one.
e  Ends the epoch after Faust's last commit.
f  Commits finished source offsets; a failed commit doesn't count as one (in F `_commit_offsets` it does).
g  1500 in F, so that a busy partition can wait 1.5 s behind an idle one.
h  The lease, and a new connection when an answer is overdue. Kafka 4's coordinator withholds the answer to a heartbeat
   while anything in its partition of `__consumer_offsets` lacks a replica (after `offsets.commit.timeout.ms` it says
   COORDINATOR_NOT_AVAILABLE): so when any broker dies, nobody's heartbeat is answered until the cluster does without
   it, some 9 s by default, over whichever connection. The lease runs out meanwhile, and that must end nobody.
i  Paces fetches, and catches the CancelledError that A raises from its sleep after a failed fetch: it would end the
   fetch routine and leave the process alive and dead.
j  No seek races a fetch. Restores A's count of running fetches, without which one exception switches
   `max_poll_interval` off for good. Bounds what one poll returns: the rest stays in A's buffers for the next, and A
   fetches a partition anew only behind those that still have some. Called past M's queue, which takes twice as long.
k  For the watchdog.
l  The agent pulls chunks; F `flow_control.clear()` would discard queued ones.
m  A hard exit after 20 s: A retries a commit for ever.
n  F sets the root logger to DEBUG for its spinner.
o  A passes over transaction markers without a word; its position tells, so that they don't count as work for ever.
p  A raises at a header's name that is not UTF-8, again at each fetch: one record would stop its partition for good.
q  F doesn't poll during a rebalance, nor for a second when all partitions are paused. A leaves a group when nobody
   polls for `max_poll_interval`, and joins again only when somebody does: such a worker never came back.
r  Files opened with small buffers, checked against the changelog, closed when given up (F leaves it to the garbage
   collector, and their locks with them). F writes to disk before the changelog has it.
s  F's replay takes every record through a queue: 9,000 a second, against 250,000. Nothing of it enters the queue, so
   F's own look for the end, every 5 s, only stands by.
t  Brokers that can't be read from are no fault of ours, which the watchdog must know.
u  A keeps a batch until it can send it, and by then whoever gave it may have no right to any more.
v  Writing to a connection that was reset this instant raises with uvloop, and A's sender or fetcher ends of it. A
   makes one connection at a time, and has no limit of its own for that.

By settings only: `QuietMonitor` (no sums per event), `CrashingSupervisor` (a failed agent ends the process), and a
short metadata age (a group leader back from a broker's crash may know no topics, and assigns none until it does).

Left as they are, and guarded by the watchdog: F crashes the application on most commit errors, where a restart is
right; M gives the consumer's thread two call workers, so that two stuck commits block all other calls but fetches.
"""
