// Sums over the workers that dashboards ask for again and again.
{
  local selector = $._config.selector,
  local rate(labels, metric, extra='') = {
    record: '%s:%s:rate5m' % [std.join('_', labels), std.rstripChars(std.strReplace(metric, '_total', ''), '_')],
    expr: 'sum by (%s) (rate(%s{%s%s}[5m]))' % [std.join(', ', labels), metric, selector, extra],
  },
  local latency(quantile, name) = {
    record: 'job:doorward_decision_latency_seconds:%s_rate5m' % name,
    expr: 'histogram_quantile(%g, job_le:doorward_decision_latency_seconds_bucket:rate5m)' % quantile,
  },

  prometheusRules+:: {
    groups+: [
      {
        name: 'doorward.traffic.rules',
        rules: [
          rate(['job', 'type'], 'doorward_events_total'),
          rate(['job', 'verdict', 'cause'], 'doorward_decisions_total', ',mode="enforce"'),
          rate(['job', 'reason'], 'doorward_dead_letters_total'),
          rate(['job', 'le'], 'doorward_decision_latency_seconds_bucket'),
          latency(0.5, 'p50'),
          latency(0.99, 'p99'),
          latency(0.999, 'p999'),
        ],
      },
    ],
  },
}
