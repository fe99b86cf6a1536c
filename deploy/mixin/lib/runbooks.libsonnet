// A text panel: every alert of the given groups, with its runbook.
local grafana = import 'grafana.libsonnet';

function(mixin, groups) grafana.text(
  'Alerts and their runbooks',
  std.join('\n', [
    '- [%s](%s): %s' % [rule.alert, rule.annotations.runbook_url, rule.annotations.summary]
    for rule in std.set(
      [rule for group in mixin.prometheusAlerts.groups if std.member(groups, group.name) for rule in group.rules],
      function(rule) rule.alert
    )
  ])
)
