// A budget of 30 days that is being spent too fast. What is measured is in rules/slo.libsonnet.
local alert = import '../lib/alert.libsonnet';

{
  local config = $._config,
  local burn(name, bad, window, objective, summary, say, known='') = alert(
    config,
    name,
    window.severity,
    |||
      %(bad)s%(long)s > %(limit).5f
      and
      %(bad)s%(short)s > %(limit).5f
    ||| % window { bad: bad, limit: window.factor * (1 - objective) } + known,
    window['for'],
    summary,
    say + ' over the last %s: at this pace the budget of 30 days is gone in %d days or sooner.' % [window.long, std.round(30 / window.factor)],
    { long: window.long, short: window.short },
  ),

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'doorward.slo',
        rules: [
          burn(
            'DoorwardAnswersBudgetBurn',
            'job:doorward_partitions_unserved:ratio_avg',
            window,
            config.slo.answers.objective,
            'Joins wait: too large a share of partitions is not answered.',
            '{{ $value | humanizePercentage }} of partition-time was not answered',
            // A Prometheus or a deployment that has just begun: one bad look among the first few is no hour's mean.
            |||
              and
              job:doorward_partitions_unserved:ratio offset %(short)s
            ||| % window,
          )
          for window in config.slo.windows
        ] + [
          burn(
            'DoorwardLatencyBudgetBurn',
            'job:doorward_decisions_slow:ratio_rate',
            window,
            config.slo.latency.objective,
            'Decisions are slow: too many come later than %s s.' % config.slo.latency.le,
            '{{ $value | humanizePercentage }} of decisions came later than %s s' % config.slo.latency.le,
          )
          for window in config.slo.windows
        ],
      },
    ],
  },
}
