// Doorward / Runtime: where the time goes, what the group does, how the process fares.
local grafana = import '../lib/grafana.libsonnet';
local runbooks = import '../lib/runbooks.libsonnet';

local of = '{job="$job",instance=~"$instance"}';
local each(metric) = [{ expr: metric + of, legend: '{{instance}}' }];
local rates(metric) = [{ expr: 'sum by (instance) (rate(%s%s[5m]))' % [metric, of], legend: '{{instance}}' }];
local counts(metric) = [{ expr: 'sum by (instance) (increase(%s%s[5m]))' % [metric, of], legend: '{{instance}}' }];

{
  local mixin = self,
  local config = $._config,

  grafanaDashboards+:: {
    'doorward-runtime.json': grafana.dashboard(
      'Doorward / Runtime',
      'doorward-runtime',
      "Stages of a chunk, commits, rebalances, recovery, and the processes' health.",
      [
        {
          title: 'A chunk',
          panels: [
            grafana.lines(
              'Stages, 99th percentile',
              's',
              [{ expr: 'histogram_quantile(0.99, sum by (le, stage) (rate(doorward_stage_seconds_bucket%s[5m])))' % of, legend: '{{stage}}' }],
              'Of each chunk: how long its oldest event waited to be taken, deciding, and writing until all was acknowledged.',
            ),
            grafana.lines(
              'Stages, share of time',
              'percentunit',
              [{ expr: 'avg by (stage) (rate(doorward_stage_seconds_sum{job="$job",instance=~"$instance",stage!="wait"}[5m]))', legend: '{{stage}}' }],
              'Of a worker, at the mean. Deciding near 1: workers are full, and more of them help; writing near 1: the brokers are slow.',
              stacked=true,
            ),
            grafana.lines(
              'Chunks',
              'ops',
              [{ expr: 'sum by (instance) (rate(doorward_stage_seconds_count{job="$job",instance=~"$instance",stage="decide"}[5m]))', legend: '{{instance}}' }],
              'A second.',
            ),
          ],
        },
        {
          title: 'Kafka',
          panels: [
            grafana.lines('Commits', 'ops', rates('doorward_commits_total'), 'A second.'),
            grafana.lines('Commits that failed', 'short', counts('doorward_commit_failures_total'), 'In 5 minutes; what they were for is answered again.', steps=[['red', 1]]),
            grafana.lines('Batches sent again', 'short', counts('doorward_produce_retries_total'), 'In 5 minutes, after a broker refused them.'),
          ],
        },
        {
          title: 'The group',
          panels: [
            grafana.lines('Rebalances', 'short', counts('doorward_rebalances_total'), 'Times that partitions were taken on, in 5 minutes.'),
            grafana.lines('Taking partitions on', 'none', each('doorward_recovering'), '1 while there are partitions to be loaded.', stepped=true),
            grafana.lines(
              'How long that takes',
              's',
              [{ expr: 'histogram_quantile(0.95, sum by (le) (rate(doorward_recovery_seconds_bucket%s[30m])))' % of, legend: 'p95' }],
              'From losing partitions, or the start, to having loaded those that came.',
            ),
          ],
        },
        {
          title: 'Out of the ordinary',
          panels: [
            grafana.lines('Fuse blown', 'none', each('doorward_fuse_blown'), '1 while a worker holds its partitions.', steps=[['red', 1]], stepped=true),
            grafana.lines('Chunks given up', 'short', counts('doorward_fenced_chunks_total'), 'In 5 minutes, because their partitions had changed hands. Another worker answers them.'),
            grafana.lines(
              'Session faults',
              'short',
              [{ expr: 'sum by (kind) (increase(doorward_session_faults_total%s[5m]))' % of, legend: '{{kind}}' }],
              'Events and records that found their session otherwise than expected, in 5 minutes; each has a defined outcome.',
              stacked=true,
            ),
          ],
        },
        {
          title: 'The process',
          panels: [
            grafana.lines(
              'Event loop late by',
              's',
              each('doorward_loop_lag_seconds') + [{ expr: 'doorward_stalled_seconds' + of, legend: '{{instance}} idle' }],
              'At worst, in the last half minute. Idle: since it last turned, or did anything of its work; it rises while a worker hangs.',
              steps=[['red', config.loopLagSeconds]],
            ),
            grafana.lines('CPU', 'percentunit', rates('process_cpu_seconds_total'), 'Of one core; a worker is one process and uses no more.', steps=[['orange', 0.8]]),
            grafana.lines('Memory', 'bytes', each('process_resident_memory_bytes'), 'Resident.'),
          ],
        },
        {
          title: 'The interpreter',
          panels: [
            grafana.lines(
              'Garbage collections',
              'ops',
              [{ expr: 'sum by (generation) (rate(python_gc_collections_total%s[5m]))' % of, legend: 'generation {{generation}}' }],
              'A second, all workers.',
            ),
            grafana.lines('Open files', 'short', each('process_open_fds'), 'Sockets and files.'),
            grafana.table(
              'Processes',
              [
                { title: 'Started', expr: 'sum by (instance) (process_start_time_seconds%s) * 1000' % of, unit: 'dateTimeAsIso' },
                { title: 'Certificates end', expr: 'sum by (instance) (doorward_certificate_expiry_timestamp_seconds%s) * 1000' % of, unit: 'dateTimeAsIso' },
                { title: 'Version', expr: 'sum by (instance, version) (doorward_build_info%s)' % of },
              ],
              'Certificates: 1970 where none are in use.',
              width=8,
            ),
          ],
        },
        {
          title: 'Runbooks',
          height: 8,
          panels: [runbooks(mixin, ['doorward.workers', 'doorward.runtime'])],
        },
      ],
      instances=true,
    ),
  },
}
