// One alert. `say` is its description, a template; its runbook is called as it is.
function(config, name, severity, expr, wait, summary, say, labels={}) {
  alert: name,
  expr: expr,
  'for': wait,
  labels: { severity: severity } + labels,
  annotations: {
    summary: summary,
    description: say,
    runbook_url: '%s%s.md' % [config.runbooks, name],
  },
}
