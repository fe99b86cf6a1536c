// A mixin as the files that Prometheus, its operator and Grafana read, by name.
local yaml(value) =
  '# Rendered from deploy/mixin by render.py; changes belong there.\n' +
  std.manifestYamlDoc(value, indent_array_in_object=true, quote_keys=false) + '\n';

function(mixin) {
  'rules.yaml': yaml(mixin.prometheusRules),
  'alerts.yaml': yaml(mixin.prometheusAlerts),
  'prometheusrule.yaml': yaml({
    apiVersion: 'monitoring.coreos.com/v1',
    kind: 'PrometheusRule',
    metadata: { name: 'doorward', labels: { 'app.kubernetes.io/name': 'doorward' } },
    spec: { groups: mixin.prometheusRules.groups + mixin.prometheusAlerts.groups },
  }),
} + {
  ['dashboards/' + name]: std.manifestJsonEx(mixin.grafanaDashboards[name], '  ') + '\n'
  for name in std.objectFields(mixin.grafanaDashboards)
}
