// Whether joins are answered, and with what.
local alert = import '../lib/alert.libsonnet';

{
  local config = $._config,

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'doorward.joins',
        rules: [
          alert(
            config,
            'DoorwardLagOld',
            'critical',
            'doorward_lag_seconds{%(selector)s} > %(lagSeconds)g' % config,
            '2m',
            'Joins wait for their answer.',
            'Events have waited for {{ $value | humanizeDuration }} at worker {{ $labels.instance }}.',
          ),
          alert(
            config,
            'DoorwardNoDecisions',
            'critical',
            // Events that were read, or that stand there unread.
            |||
              (
                sum by (job, instance) (rate(doorward_events_total{%(selector)s,type="doorward.join.v1"}[5m])) > 0
                or
                sum by (job, instance) (min_over_time(doorward_lag_records{%(selector)s}[5m])) > 0
              )
              unless
              sum by (job, instance) (rate(doorward_decisions_total{%(selector)s,mode="enforce",cause=~"join|update"}[5m])) > 0
            ||| % config,
            '2m',
            'Joins come and no decision goes out.',
            'Worker {{ $labels.instance }} has joins and has decided none of them for minutes.',
          ),
          alert(
            config,
            'DoorwardFuseBlown',
            'critical',
            'doorward_fuse_blown{%(selector)s} == 1' % config,
            '1m',
            'A worker holds its partitions: too many events fail in our own code.',
            'Worker {{ $labels.instance }} has stopped before committing, so that nothing is drained into dead letters. Its meetings get no decision.',
          ),
          alert(
            config,
            'DoorwardInternalErrors',
            'warning',
            'sum by (job) (increase(doorward_dead_letters_total{%(selector)s,reason="internal"}[15m])) > 0' % config,
            '0m',
            'Events failed in our own code.',
            'Dead letters with the reason `internal` in 15 minutes: about {{ $value | humanize }}. Each is a defect of ours, and its join got no decision.',
          ),
          alert(
            config,
            'DoorwardDeadLetters',
            'warning',
            |||
              sum by (job) (rate(doorward_dead_letters_total{%(selector)s}[10m]))
              /
              sum by (job) (rate(doorward_events_total{%(selector)s}[10m]))
              > %(deadLetterShare)g
              and
              sum by (job) (increase(doorward_dead_letters_total{%(selector)s}[10m])) >= %(deadLettersAtLeast)d
            ||| % config,
            '10m',
            'Too large a share of events are dead letters.',
            '{{ $value | humanizePercentage }} of events became dead letters: some backend publishes what cannot be read.',
          ),
          alert(
            config,
            'DoorwardMisrouted',
            'warning',
            'sum by (job) (rate(doorward_misrouted_events_total{%(selector)s}[15m])) > 0' % config,
            '15m',
            'Events come on the wrong partition.',
            'Events a second that are not where the default partitioner (murmur2 of the meeting) puts them: {{ $value | humanize }}. They are decided, but a meeting split over partitions has no one order.',
          ),
          alert(
            config,
            'DoorwardRemovalsUnconfirmed',
            'warning',
            'sum by (job) (doorward_unconfirmed_removals{%(selector)s}) > %(unconfirmedRemovals)d' % config,
            '15m',
            'Removals are not carried out.',
            '{{ $value }} participations were removed and have not left: the backend does not act on removals, or sends no leave events.',
          ),
        ],
      },
    ],
  },
}
