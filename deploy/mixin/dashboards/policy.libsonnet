// Doorward / Policy: what is in force where, how long it took, and what it did to live calls.
local grafana = import '../lib/grafana.libsonnet';
local runbooks = import '../lib/runbooks.libsonnet';

local of = '{job="$job",instance=~"$instance"}';
local quantiles(metric, window) = [
  {
    expr: 'histogram_quantile(%g, sum by (le) (rate(%s_bucket%s[%s])))' % [quantile, metric, of, window],
    legend: 'p%d' % (quantile * 100),
  }
  for quantile in [0.5, 0.99]
];

{
  local mixin = self,
  local config = $._config,
  local watch = '{%s}' % config.watchSelector,

  grafanaDashboards+:: {
    'doorward-policy.json': grafana.dashboard(
      'Doorward / Policy',
      'doorward-policy',
      'Which documents are in force on which worker, how soon, and what they changed.',
      [
        {
          title: 'In force',
          panels: [
            grafana.table(
              'Workers',
              [
                { title: 'Offset in force', expr: 'sum by (instance) (doorward_policy_offset%s)' % of },
                { title: 'Offset applied', expr: 'sum by (instance) (doorward_policy_applied_offset%s)' % of },
                { title: 'Index hash, 48 bits', expr: 'sum by (instance) (doorward_policy_index_hash%s)' % of },
                { title: 'Documents', expr: 'sum by (instance) (doorward_policy_documents%s)' % of },
                { title: 'Geo build', expr: 'sum by (instance) (doorward_geo_build_timestamp_seconds%s) * 1000' % of, unit: 'dateTimeAsIso' },
              ],
              'At the same offset all hashes are the same number.',
              width=16,
            ),
            grafana.lines(
              'Offset in force',
              'none',
              [{ expr: 'doorward_policy_offset' + of, legend: '{{instance}}' }],
              'The last record of the policy log that decides. One that stays below the others decides by old policies.',
              stepped=true,
            ),
          ],
        },
        {
          title: 'The log',
          panels: [
            grafana.lines(
              'Records judged',
              'short',
              [{ expr: 'max by (result) (increase(doorward_policy_records_total%s[5m]))' % of, legend: '{{result}}' }],
              'In 5 minutes, by the worker that judged most. Every worker judges every record.',
              stepped=true,
            ),
            grafana.lines('From append to in force', 's', quantiles('doorward_policy_in_force_seconds', '15m'), "From a record's append to joins being decided by it.", steps=[['red', 1]]),
            grafana.number(
              'Next document ends',
              'dateTimeFromNow',
              'min(doorward_document_expiry_timestamp_seconds%s > 0) * 1000 or vector(0)' % of,
              'The earliest not_after to come; 1970: none has one.',
              width=4,
            ),
            grafana.number(
              'Index hashes',
              'none',
              'count(count_values("hash", doorward_policy_index_hash%s))' % of,
              'How many different ones there are. More than one for long is bad.',
              width=4,
              steps=[['red', 2]],
            ),
          ],
        },
        {
          title: 'Live calls decided again',
          panels: [
            grafana.lines('From in force to swept', 's', quantiles('doorward_policy_swept_seconds', '15m'), 'Until the last changed live verdict was acknowledged.'),
            grafana.lines(
              'Sweeps',
              's',
              [{ expr: 'doorward_sweep_age_seconds' + of, legend: '{{instance}}' }],
              'For how long a sweep has been due or under way.',
              steps=[['red', config.sweepSeconds]],
            ),
            grafana.lines('Sweeps due', 'short', [{ expr: 'doorward_sweeps_due' + of, legend: '{{instance}}' }], 'Due or under way.', stepped=true),
          ],
        },
        {
          title: 'What sweeps did',
          panels: [
            grafana.lines('Sessions decided again', 'ops', [{ expr: 'sum by (instance) (rate(doorward_swept_sessions_total%s[5m]))' % of, legend: '{{instance}}' }], 'A second.'),
            grafana.lines(
              'Verdicts changed',
              'short',
              [{ expr: 'sum by (verdict, cause) (increase(doorward_sweep_changes_total%s[5m]))' % of, legend: '{{verdict}}, {{cause}}' }],
              'Of live calls, in 5 minutes, to which verdict and why.',
              stacked=true,
            ),
            grafana.lines(
              'Geo builds',
              'none',
              [
                { expr: 'max(doorward_geo_held%s)' % of, legend: 'held back' },
                { expr: 'sum(increase(doorward_geo_refused_total%s[15m]))' % of, legend: 'refused in 15 minutes' },
              ],
              'A new build that would change too much waits for somebody to look; one that is no good is refused.',
              stepped=true,
            ),
          ],
        },
        {
          title: 'The charter',
          panels: [
            grafana.lines(
              'Removals on one meeting or account',
              'percentunit',
              [{ expr: 'max by (policy, scope) (doorward_charter_removals_concentration%s)' % watch, legend: '{{policy}}, {{scope}}' }],
              "The share of a service document's removals of a day that falls on the one it hits most (`doorward report --watch`). From 10 removals on.",
              width=12,
            ),
            grafana.lines(
              'Charter alarm',
              'none',
              [{ expr: 'max by (policy, scope) (doorward_charter_alarm%s)' % watch, legend: '{{policy}}, {{scope}}' }],
              '1 while it stands (charter C2).',
              steps=[['red', 1]],
              stepped=true,
            ),
            grafana.number(
              'Last watched',
              'dateTimeFromNow',
              'max(doorward_charter_checked_timestamp_seconds%s) * 1000' % watch,
              'When `doorward report --watch` last looked.',
            ),
          ],
        },
        {
          title: 'Runbooks',
          height: 8,
          panels: [runbooks(mixin, ['doorward.policy', 'doorward.geo'])],
        },
      ],
      instances=true,
    ),
  },
}
