// What the two objectives are measured by: the share that was bad, at once and over every window that alerts look at.
//
// *Answers.* A partition of `joins` is served while some worker owns it, is ready, has no blown fuse, does not hang, and
// has let no event wait for longer than promised. Nothing is ever dropped, so what a backend feels is waiting; and what
// waits where no worker is, no worker counts. Hence time of partitions and not a count of events. Workers say how many
// partitions there are; where none says anything, none is served.
//
// *Latency.* The share of decisions later than promised. What waited through an outage is counted when it is answered.
{
  local slo = $._config.slo,
  local windows = std.set(std.flattenArrays([[window.short, window.long] for window in slo.windows])),
  local values = $._config { within: slo.answers.within, le: slo.latency.le },

  prometheusRules+:: {
    groups+: [
      {
        name: 'doorward.slo.rules',
        rules: [
          {
            // Two looks at the lag, not one: an event under way in a partition that was quiet is no lag.
            record: 'job:doorward_partitions_unserved:ratio',
            expr: |||
              clamp_min(
                1 - sum by (job) (
                  doorward_partitions{%(selector)s}
                    unless doorward_ready{%(selector)s} == 0
                    unless doorward_fuse_blown{%(selector)s} == 1
                    unless doorward_stalled_seconds{%(selector)s} > %(within)g
                    unless min_over_time(doorward_lag_seconds{%(selector)s}[1m]) > %(within)g
                ) / max by (job) (doorward_joins_partitions{%(selector)s}),
                0
              )
              or
              1 + 0 * count by (job) (up{%(selector)s})
            ||| % values,
          },
        ] + [
          {
            record: 'job:doorward_partitions_unserved:ratio_avg%s' % window,
            expr: 'avg_over_time(job:doorward_partitions_unserved:ratio[%s])' % window,
          }
          for window in windows
        ] + [
          {
            record: 'job:doorward_decisions_slow:ratio_rate%s' % window,
            expr: |||
              1 - (
                sum by (job) (rate(doorward_decision_latency_seconds_bucket{%(selector)s,le="%(le)s"}[%(window)s]))
                /
                sum by (job) (rate(doorward_decision_latency_seconds_count{%(selector)s}[%(window)s]))
              )
            ||| % values { window: window },
          }
          for window in windows
        ],
      },
    ],
  },
}
