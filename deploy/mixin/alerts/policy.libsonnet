// Whether every worker decides by the same documents, the newest ones, and what became of new ones.
local alert = import '../lib/alert.libsonnet';

{
  local config = $._config,
  // The index hashes of the workers that are furthest in the policy log; the others are DoorwardPolicyBehind's.
  local newest = |||
    by (job) (
      doorward_policy_index_hash{%(selector)s}
        and doorward_policy_offset{%(selector)s} == on (job) group_left () max by (job) (doorward_policy_offset{%(selector)s})
    )
  ||| % config,

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'doorward.policy',
        rules: [
          alert(
            config,
            'DoorwardIndexHashDiffers',
            'critical',
            'max %s!=\nmin %s' % [newest, newest],
            '5m',
            'Workers that read the same policies hold different ones.',
            'At the same offset of the policy log workers have different index hashes: the same join would be decided differently by one and the other.',
          ),
          alert(
            config,
            'DoorwardPolicyBehind',
            'critical',
            // One that is not ready yet reads the log, and decides nothing.
            |||
              doorward_policy_offset{%(selector)s} < on (job) group_left () max by (job) (doorward_policy_offset{%(selector)s})
              and
              doorward_ready{%(selector)s} == 1
            ||| % config,
            '2m',
            'A worker decides by old policies.',
            'Worker {{ $labels.instance }} is at offset {{ $value }} of the policy log; others are further.',
          ),
          alert(
            config,
            'DoorwardPolicyRejected',
            'warning',
            // Every worker judges every record; one that reads the log anew counts old rejections, alone.
            'min by (job) (increase(doorward_policy_records_total{%(selector)s,result="rejected"}[15m])) > 0' % config,
            '0m',
            'A policy document was rejected.',
            'Records of the policy log that every worker refused in 15 minutes: about {{ $value | humanize }}. What was in force before stays.',
          ),
          alert(
            config,
            'DoorwardSweepSlow',
            'warning',
            'doorward_sweep_age_seconds{%(selector)s} > %(sweepSeconds)d' % config,
            '1m',
            'Live calls are not decided again in time.',
            'At worker {{ $labels.instance }} a sweep has been due or under way for {{ $value | humanizeDuration }}. New joins are decided by the new policies; people already in, not yet.',
          ),
          alert(
            config,
            'DoorwardDocumentExpiring',
            'warning',
            |||
              min by (job) (doorward_document_expiry_timestamp_seconds{%(selector)s} > 0) - time()
              < %(documentDays)d * 86400
            ||| % config,
            '15m',
            'A policy document is about to end.',
            'In {{ $value | humanizeDuration }} a document in force reaches its not_after and has no say any more.',
          ),
          alert(
            config,
            'DoorwardConcentratedRemovals',
            'critical',
            'max by (policy, scope) (doorward_charter_alarm{%(watchSelector)s}) == 1' % config,
            '1m',
            "A service rule's removals fall on one meeting or account.",
            "Of a day's removals by {{ $labels.policy }} too many fall on one {{ $labels.scope }}. A general rule that hits one of them is what charter C2 forbids.",
          ),
          alert(
            config,
            'DoorwardCharterUnwatched',
            'warning',
            |||
              time() - max(doorward_charter_checked_timestamp_seconds{%(watchSelector)s}) > %(unwatchedSeconds)d
              or
              absent(doorward_charter_checked_timestamp_seconds{%(watchSelector)s})
            ||| % config,
            '15m',
            'Nobody watches where removals fall.',
            '`doorward report --watch` does not run, does not answer, or has not looked for 15 minutes: the alarm of charter C2 is off.',
          ),
        ],
      },
    ],
  },
}
