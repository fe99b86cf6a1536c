// Recording rules, alerts and dashboards of Doorward, laid out as Prometheus mixins are: `prometheusRules`,
// `prometheusAlerts` and `grafanaDashboards`, all made from `_config`.
(import 'config.libsonnet') +
(import 'rules/slo.libsonnet') +
(import 'rules/traffic.libsonnet') +
(import 'alerts/slo.libsonnet') +
(import 'alerts/workers.libsonnet') +
(import 'alerts/joins.libsonnet') +
(import 'alerts/policy.libsonnet') +
(import 'alerts/geo.libsonnet') +
(import 'alerts/runtime.libsonnet') +
(import 'dashboards/overview.libsonnet') +
(import 'dashboards/policy.libsonnet') +
(import 'dashboards/runtime.libsonnet')
