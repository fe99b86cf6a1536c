// Whether there are workers enough, and whether every partition has one.
local alert = import '../lib/alert.libsonnet';

{
  local config = $._config,

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'doorward.workers',
        rules: [
          alert(
            config,
            'DoorwardNoWorker',
            'critical',
            'absent(up{%(selector)s} == 1)' % config,
            '1m',
            'No worker can be scraped.',
            'No target of %(selector)s answers. Either no worker runs, and no join is decided; or Prometheus cannot reach them.' % config,
          ),
          alert(
            config,
            'DoorwardTooFewReady',
            'critical',
            |||
              (
                sum by (job) (doorward_ready{%(selector)s})
                or 0 * count by (job) (up{%(selector)s})
              ) < %(minReady)d
            ||| % config,
            '2m',
            'Too few workers are ready.',
            'Ready workers: {{ $value }}; %(minReady)d are wanted.' % config,
          ),
          alert(
            config,
            'DoorwardWorkerDown',
            'warning',
            'up{%(selector)s} == 0' % config,
            '5m',
            'A worker cannot be scraped.',
            'Worker {{ $labels.instance }} has not answered for 5 minutes. Its partitions are with the others by now.',
          ),
          alert(
            config,
            'DoorwardWorkerHung',
            'critical',
            'doorward_stalled_seconds{%(selector)s} > %(hungSeconds)d' % config,
            '1m',
            'A worker hangs and does not end itself.',
            'Worker {{ $labels.instance }} has done nothing for {{ $value | humanizeDuration }} and still holds its partitions. Their meetings get no decision.',
          ),
          alert(
            config,
            'DoorwardWorkerRestarting',
            'warning',
            'changes(process_start_time_seconds{%(selector)s}[30m]) > %(restarts)d' % config,
            '1m',
            'A worker starts again and again.',
            'Worker {{ $labels.instance }} started {{ $value }} times in half an hour.',
          ),
          alert(
            config,
            'DoorwardPartitionsUnowned',
            'critical',
            // Where no worker can be asked, DoorwardNoWorker says so.
            |||
              sum by (job) (doorward_partitions{%(selector)s}) < max by (job) (doorward_joins_partitions{%(selector)s})
            ||| % config,
            '2m',
            'Partitions of joins have no worker.',
            'Workers own {{ $value }} partitions of joins, which has more. Meetings of the others get no decision.',
          ),
          alert(
            config,
            'DoorwardPartitionsMiscounted',
            'warning',
            |||
              sum by (job) (doorward_partitions{%(selector)s}) > max by (job) (doorward_joins_partitions{%(selector)s})
            ||| % config,
            '10m',
            'Workers own more partitions than joins has.',
            'Workers own {{ $value }} partitions of joins, which had fewer when they started. One that is lost would not be missed.',
          ),
          alert(
            config,
            'DoorwardVersionsDiffer',
            'info',
            'count by (job) (count by (job, version) (doorward_build_info{%(selector)s})) > 1' % config,
            '1h',
            'Workers run different versions.',
            '{{ $value }} versions have run side by side for an hour: a roll-out that stopped half way?',
          ),
        ],
      },
    ],
  },
}
