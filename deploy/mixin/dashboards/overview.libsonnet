// Doorward / Overview: is the promise kept, what comes in, what goes out, what waits.
local grafana = import '../lib/grafana.libsonnet';
local runbooks = import '../lib/runbooks.libsonnet';

local of = '{job="$job"}';

{
  local mixin = self,
  local config = $._config,
  local answers = config.slo.answers,
  local latency = config.slo.latency,
  local windows = [config.slo.windows[0].short] + [window.long for window in config.slo.windows],
  local within(window) = |||
    sum(increase(doorward_decision_latency_seconds_bucket{job="$job",le="%s"}[%s]))
    /
    sum(increase(doorward_decision_latency_seconds_count{job="$job"}[%s]))
  ||| % [latency.le, window, window],
  // Green while more than half of a budget is left.
  local budget(title, bad, objective) = grafana.number(
    title,
    'percentunit',
    '1 - (%s) / %g' % [std.stripChars(bad, '\n'), 1 - objective],
    'Of 30 days; below nothing, the objective is missed.',
    steps=[['orange', 0], ['green', 0.5]],
    first='red',
    decimals=1,
  ),

  grafanaDashboards+:: {
    'doorward-overview.json': grafana.dashboard(
      'Doorward / Overview',
      'doorward-overview',
      'Whether joins are answered in time, with what, and by how many workers.',
      [
        {
          title: 'What is promised',
          height: 4,
          panels: [
            grafana.number(
              'Answered, 30 days',
              'percentunit',
              '1 - max(avg_over_time(job:doorward_partitions_unserved:ratio%s[30d]))' % of,
              'Share of partition-time in which joins were answered. Objective: %g %%.' % (answers.objective * 100),
              steps=[['green', answers.objective]],
              first='red',
              decimals=3,
            ),
            budget('Budget left: answers', 'max(avg_over_time(job:doorward_partitions_unserved:ratio%s[30d]))' % of, answers.objective),
            grafana.number(
              'Within %s s, 30 days' % latency.le,
              'percentunit',
              within('30d'),
              'Share of decisions. Objective: %g %%.' % (latency.objective * 100),
              steps=[['green', latency.objective]],
              first='red',
              decimals=2,
            ),
            budget('Budget left: latency', '1 - ' + within('30d'), latency.objective),
            grafana.number(
              'Workers ready',
              'none',
              'sum(doorward_ready%s)' % of,
              'Of those that Prometheus knows; %d are wanted.' % config.minReady,
              steps=[['green', config.minReady]],
              first='red',
            ),
            grafana.number(
              'Alerts firing',
              'none',
              'count(ALERTS{alertname=~"Doorward.*",alertstate="firing"}) or vector(0)',
              'Runbooks are at the end of this page.',
              steps=[['red', 1]],
            ),
          ],
        },
        {
          title: 'How fast the budgets are spent',
          panels: [
            grafana.lines(
              'Burn rate: answers',
              'x',
              [
                { expr: 'job:doorward_partitions_unserved:ratio_avg%s%s / %g' % [window, of, 1 - answers.objective], legend: window }
                for window in windows
              ],
              'At 1 the budget lasts exactly 30 days; from 14.4 on, over an hour, somebody is paged.',
              width=12,
              steps=[['orange', 1], ['red', 14.4]],
            ),
            grafana.lines(
              'Burn rate: latency',
              'x',
              [
                { expr: 'job:doorward_decisions_slow:ratio_rate%s%s / %g' % [window, of, 1 - latency.objective], legend: window }
                for window in windows
              ],
              'At 1 the budget lasts exactly 30 days; from 14.4 on, over an hour, somebody is paged.',
              width=12,
              steps=[['orange', 1], ['red', 14.4]],
            ),
          ],
        },
        {
          title: 'Traffic and verdicts',
          panels: [
            grafana.lines('Events', 'ops', [{ expr: 'job_type:doorward_events:rate5m' + of, legend: '{{type}}' }], 'Read from joins, a second.', stacked=true),
            grafana.lines(
              'Verdicts',
              'ops',
              [{ expr: 'sum by (verdict) (job_verdict_cause:doorward_decisions:rate5m%s)' % of, legend: '{{verdict}}' }],
              'Acknowledged decisions a second, of documents in force only.',
              stacked=true,
            ),
            grafana.lines(
              'Causes',
              'ops',
              [{ expr: 'sum by (cause) (job_verdict_cause:doorward_decisions:rate5m%s)' % of, legend: '{{cause}}' }],
              'Why decisions were made: a join or update, or a sweep for a policy, a geo build or the clock.',
              stacked=true,
            ),
          ],
        },
        {
          title: 'Latency',
          panels: [
            grafana.lines(
              'Decision latency',
              's',
              [
                { expr: 'job:doorward_decision_latency_seconds:%s_rate5m%s' % [name, of], legend: name }
                for name in ['p50', 'p99', 'p999']
              ],
              "From an event's append to its decision's acknowledgement by all in-sync replicas.",
              width=12,
              steps=[['red', std.parseJson(latency.le)]],
            ),
            grafana.heatmap(
              'Decision latency, all of it',
              's',
              'sum by (le) (increase(doorward_decision_latency_seconds_bucket%s[$__rate_interval]))' % of,
              'How many decisions took how long.',
            ),
          ],
        },
        {
          title: 'What waits, what fails',
          panels: [
            grafana.lines('Lag, events', 'short', [{ expr: 'doorward_lag_records' + of, legend: '{{instance}}' }], 'Waiting in the partitions that a worker owns.'),
            grafana.lines(
              'Lag, age',
              's',
              [{ expr: 'doorward_lag_seconds' + of, legend: '{{instance}}' }],
              'How long the partition furthest behind has waited.',
              steps=[['red', config.lagSeconds]],
            ),
            grafana.lines(
              'Dead letters',
              'ops',
              [{ expr: 'job_reason:doorward_dead_letters:rate5m' + of, legend: '{{reason}}' }],
              'A second, by reason. `internal` is ours, all others are what backends published.',
              stacked=true,
            ),
          ],
        },
        {
          title: 'Live calls',
          panels: [
            grafana.lines('Sessions', 'short', [{ expr: 'sum(doorward_sessions%s)' % of, legend: 'live' }], 'Live participations as remembered.'),
            grafana.lines(
              'Removals not confirmed',
              'short',
              [
                { expr: 'sum(doorward_unconfirmed_removals%s)' % of, legend: 'not confirmed' },
                { expr: 'sum(increase(doorward_reminders_total%s[5m]))' % of, legend: 'said again in 5 minutes' },
              ],
              'Removed, and no leave event seen.',
              steps=[['red', config.unconfirmedRemovals]],
            ),
            grafana.lines(
              'From removal to leave',
              's',
              [
                { expr: 'histogram_quantile(%g, sum by (le) (rate(doorward_removal_confirmed_seconds_bucket%s[15m])))' % [q, of], legend: 'p%d' % (q * 100) }
                for q in [0.5, 0.95]
              ],
              'How long backends take to carry removals out.',
            ),
          ],
        },
        {
          title: 'Workers',
          panels: [
            grafana.lines('Ready', 'none', [{ expr: 'doorward_ready' + of, legend: '{{instance}}' }], '1 while joins are consumed.', stacked=true, stepped=true),
            grafana.lines('Partitions', 'none', [{ expr: 'doorward_partitions' + of, legend: '{{instance}}' }], 'Of joins, by owner.', stacked=true, stepped=true),
            grafana.lines(
              'Addresses looked up',
              'ops',
              [{ expr: 'sum by (result) (rate(doorward_geo_lookups_total%s[5m]))' % of, legend: '{{result}}' }],
              'A country found, none known, or a look-up that failed.',
              stacked=true,
            ),
          ],
        },
        {
          title: 'Runbooks',
          height: 12,
          panels: [runbooks(mixin, ['doorward.slo', 'doorward.workers', 'doorward.joins', 'doorward.geo'])],
        },
      ],
    ),
  },
}
