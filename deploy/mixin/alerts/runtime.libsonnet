// Whether the machinery under it all runs as it should.
local alert = import '../lib/alert.libsonnet';

{
  local config = $._config,
  local certificate = 'min by (job, instance) (doorward_certificate_expiry_timestamp_seconds{%(selector)s} > 0) - time()' % config,
  local ends = 'A certificate that worker {{ $labels.instance }} uses ends in {{ $value | humanizeDuration }}.',

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'doorward.runtime',
        rules: [
          alert(
            config,
            'DoorwardRecoveryStuck',
            'critical',
            'doorward_recovering{%(selector)s} == 1' % config,
            '5m',
            'A worker does not get its partitions loaded.',
            'Worker {{ $labels.instance }} has been taking on partitions for 5 minutes; their meetings get no decision meanwhile.',
          ),
          alert(
            config,
            'DoorwardRebalancing',
            'warning',
            'increase(doorward_rebalances_total{%(selector)s}[30m]) > %(rebalances)d' % config,
            '5m',
            'Partitions keep changing hands.',
            'Worker {{ $labels.instance }} took partitions on {{ $value | humanize }} times in half an hour. Each time joins wait.',
          ),
          alert(
            config,
            'DoorwardCommitsFailing',
            'warning',
            // Most refusals never come to be counted: the client tries again for as long as the brokers ask it to.
            |||
              sum by (job, instance) (rate(doorward_commit_failures_total{%(selector)s}[5m])) > 0
              or
              (
                sum by (job, instance) (rate(doorward_decisions_total{%(selector)s,mode="enforce",cause=~"join|update"}[5m])) > 0
                unless
                sum by (job, instance) (rate(doorward_commits_total{%(selector)s}[5m])) > 0
              )
            ||| % config,
            '10m',
            'Commits fail.',
            'Worker {{ $labels.instance }} cannot commit what it has answered. Nothing is lost; after a restart it is answered again.',
          ),
          alert(
            config,
            'DoorwardLoopLag',
            'warning',
            'doorward_loop_lag_seconds{%(selector)s} > %(loopLagSeconds)g' % config,
            '5m',
            "A worker's event loop is late.",
            'The event loop of worker {{ $labels.instance }} was late by {{ $value | humanizeDuration }}: too little CPU, or something blocks it.',
          ),
          alert(
            config,
            'DoorwardCertificateExpiring',
            'warning',
            |||
              %s < %d * 86400
              and
              %s >= %d * 86400
            ||| % [certificate, config.certificateDays, certificate, config.certificateCriticalDays],
            '15m',
            'A certificate is about to end.',
            ends,
          ),
          alert(
            config,
            'DoorwardCertificateExpiring',
            'critical',
            '%s < %d * 86400' % [certificate, config.certificateCriticalDays],
            '15m',
            'A certificate is about to end.',
            ends,
          ),
        ],
      },
    ],
  },
}
