// Whether what is known of addresses is recent, the same everywhere, and there at all.
local alert = import '../lib/alert.libsonnet';

{
  local config = $._config,

  prometheusAlerts+:: {
    groups+: [
      {
        name: 'doorward.geo',
        rules: [
          alert(
            config,
            'DoorwardGeoStale',
            'warning',
            |||
              time() - min by (job) (doorward_geo_build_timestamp_seconds{%(selector)s} > 0) > %(geoDays)d * 86400
            ||| % config,
            '1h',
            'Geo files are old.',
            'The newest geo file in use was built {{ $value | humanizeDuration }} ago. Places drift; and old anonymity files make service rules alert instead of remove.',
          ),
          alert(
            config,
            'DoorwardAnonymityDiscounted',
            'warning',
            'max by (job, reason) (doorward_anonymity_files_discounted{%(selector)s}) > 0' % config,
            '15m',
            'Anonymity data do not count for service documents.',
            'Files that do not count ({{ $labels.reason }}): {{ $value }}. Where none counts, rules of service documents that would remove only alert (charter C4).',
          ),
          alert(
            config,
            'DoorwardGeoHeld',
            'warning',
            'max by (job) (doorward_geo_held{%(selector)s}) == 1' % config,
            '5m',
            'A new geo build is held back.',
            'It would change more live verdicts at once than DOORWARD_GEO_MAX_CHANGE allows. The old build stays in use.',
          ),
          alert(
            config,
            'DoorwardGeoRefused',
            'warning',
            'sum by (job, instance) (increase(doorward_geo_refused_total{%(selector)s}[15m])) > 0' % config,
            '0m',
            'A new geo build was refused.',
            'Worker {{ $labels.instance }} could not use the files that the manifest names, and keeps the old ones.',
          ),
          alert(
            config,
            'DoorwardGeoDiffers',
            'warning',
            |||
              max by (job) (doorward_geo_build_timestamp_seconds{%(selector)s})
              !=
              min by (job) (doorward_geo_build_timestamp_seconds{%(selector)s})
            ||| % config,
            '15m',
            'Workers use different geo builds.',
            'For 15 minutes workers have located people by different files: some did not follow the manifest.',
          ),
          alert(
            config,
            'DoorwardGeoErrors',
            'warning',
            |||
              sum by (job) (rate(doorward_geo_lookups_total{%(selector)s,result="error"}[10m]))
              /
              sum by (job) (rate(doorward_geo_lookups_total{%(selector)s}[10m]))
              > %(geoErrorShare)g
            ||| % config,
            '10m',
            'Looking addresses up fails.',
            '{{ $value | humanizePercentage }} of look-ups failed: those people are decided with their place unknown.',
          ),
        ],
      },
    ],
  },
}
