// Just as much of Grafana's dashboard JSON (schema 39, Grafana 11 and later) as three dashboards need: panels are made by
// kind, told their width, and set in rows from left to right. No library to vendor: the mixin renders from a clone.
local datasource = { type: 'prometheus', uid: '$datasource' };
local columns = 24;

// Panels of one height side by side, under a title. Returns { y, panels }: the next free line, and what there is so far.
local row(done, title, height, panels) = {
  local placed = std.foldl(
    function(line, panel) {
      x: line.x + panel.width,
      panels: line.panels + [panel.json { gridPos: { x: line.x, y: done.y + 1, w: panel.width, h: height } }],
    },
    panels,
    { x: 0, panels: [] }
  ),
  assert placed.x <= columns : 'row %s is %d columns wide' % [title, placed.x],
  y: done.y + 1 + height,
  panels: done.panels + [
    { type: 'row', title: title, collapsed: false, panels: [], gridPos: { x: 0, y: done.y, w: columns, h: 1 } },
  ] + placed.panels,
};

local target(query, instant) = {
  datasource: datasource,
  expr: std.stripChars(query.expr, '\n'),
  legendFormat: std.get(query, 'legend', '__auto'),
  refId: error 'given by its place',
  format: std.get(query, 'format', 'time_series'),
  instant: instant,
  range: !instant,
};

local panel(kind, title, width, about, queries, instant=false) = {
  width: width,
  json: {
    type: kind,
    title: title,
    description: about,
    datasource: datasource,
    targets: [
      target(queries[place], instant) { refId: std.char(std.codepoint('A') + place) }
      for place in std.range(0, std.length(queries) - 1)
    ],
  },
};

// Green from nothing on, then a colour from each value on: [['orange', 0.5], ['red', 1]].
local thresholds(steps, first='green') = {
  mode: 'absolute',
  steps: [{ color: first, value: null }] + [{ color: step[0], value: step[1] } for step in steps],
};

{
  // A query: { expr, legend? }.
  lines(title, unit, queries, about='', width=8, steps=[], stacked=false, stepped=false): panel('timeseries', title, width, about, queries) + {
    json+: {
      fieldConfig: {
        defaults: {
          unit: unit,
          min: 0,
          thresholds: thresholds(steps),
          custom: {
            lineWidth: 1,
            fillOpacity: if stacked then 40 else 5,
            lineInterpolation: if stepped then 'stepAfter' else 'linear',
            showPoints: 'never',
            stacking: { mode: if stacked then 'normal' else 'none', group: 'A' },
            thresholdsStyle: { mode: if steps == [] then 'off' else 'line' },
          },
        },
        overrides: [],
      },
      options: {
        legend: { displayMode: 'list', placement: 'bottom', showLegend: true, calcs: [] },
        tooltip: { mode: 'multi', sort: 'desc' },
      },
    },
  },

  // One number now. `steps` as for thresholds; `first` is the colour below the first of them.
  number(title, unit, expr, about='', width=4, steps=[], first='green', decimals=null): panel('stat', title, width, about, [{ expr: expr }], instant=true) + {
    json+: {
      fieldConfig: {
        defaults: {
          unit: unit,
          thresholds: thresholds(steps, first),
          [if decimals != null then 'decimals']: decimals,
        },
        overrides: [],
      },
      options: {
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        colorMode: 'value',
        graphMode: 'none',
        justifyMode: 'auto',
        orientation: 'auto',
        textMode: 'auto',
      },
    },
  },

  // A row for each worker, a column for each query: { expr, title, unit? }. Queries keep the label `instance` only.
  table(title, queries, about='', width=24): panel('table', title, width, about, [query { format: 'table' } for query in queries], instant=true) + {
    json+: {
      fieldConfig: {
        defaults: {},
        overrides: [
          {
            matcher: { id: 'byName', options: query.title },
            properties: [{ id: 'unit', value: std.get(query, 'unit', 'none') }],
          }
          for query in queries
        ],
      },
      options: { showHeader: true, cellHeight: 'sm' },
      transformations: [
        { id: 'joinByField', options: { byField: 'instance', mode: 'outer' } },
        {
          id: 'organize',
          options: {
            excludeByName: { ['Time %d' % place]: true for place in std.range(1, std.length(queries)) } + { Time: true },
            renameByName: {
              ['Value #' + std.char(std.codepoint('A') + place)]: queries[place].title
              for place in std.range(0, std.length(queries) - 1)
            } + { instance: 'Worker' },
          },
        },
      ],
    },
  },

  // A classic histogram's rates over time; `expr` keeps the label `le`.
  heatmap(title, unit, expr, about='', width=12): panel('heatmap', title, width, about, [{ expr: expr, legend: '{{le}}', format: 'heatmap' }]) + {
    json+: {
      options: {
        calculate: false,
        cellGap: 1,
        color: { mode: 'scheme', scheme: 'Oranges', steps: 64, exponent: 0.5, fill: 'dark-orange', reverse: false },
        filterValues: { le: 1e-9 },
        legend: { show: true },
        rowsFrame: { layout: 'auto' },
        tooltip: { mode: 'single', yHistogram: false },
        yAxis: { axisPlacement: 'left', unit: unit, reverse: false },
      },
      fieldConfig: { defaults: {}, overrides: [] },
    },
  },

  // Markdown.
  text(title, content, width=24): {
    width: width,
    json: { type: 'text', title: title, options: { mode: 'markdown', content: content } },
  },

  // A dashboard of rows: { title, height?, panels }.
  dashboard(name, uid, about, rows, instances=false): {
    local variable = { hide: 0, skipUrlSync: false },
    local labels(label, text, from, many) = variable {
      type: 'query',
      name: label,
      label: text,
      datasource: datasource,
      definition: 'label_values(%s, %s)' % [from, label],
      query: { query: 'label_values(%s, %s)' % [from, label], refId: label },
      refresh: 2,
      sort: 1,
      multi: many,
      includeAll: many,
    } + (if many then { allValue: '.*', current: { selected: true, text: ['All'], value: ['$__all'] } } else {}),
    local placed = std.foldl(
      function(done, each) row(done, each.title, std.get(each, 'height', 8), each.panels),
      rows,
      { y: 0, panels: [] }
    ).panels,

    title: name,
    uid: uid,
    description: about,
    tags: ['doorward'],
    schemaVersion: 39,
    version: 1,
    editable: false,
    graphTooltip: 1,
    timezone: 'utc',
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    timepicker: {},
    fiscalYearStartMonth: 0,
    annotations: { list: [] },
    links: [
      {
        type: 'dashboards',
        title: 'Doorward',
        tags: ['doorward'],
        asDropdown: false,
        includeVars: true,
        keepTime: true,
        targetBlank: false,
        icon: 'external link',
        tooltip: '',
        url: '',
      },
    ],
    templating: {
      list: [
        variable { type: 'datasource', name: 'datasource', label: 'Prometheus', query: 'prometheus', refresh: 1, regex: '', multi: false, includeAll: false },
        labels('job', 'Job', 'doorward_build_info', false),
      ] + (if instances then [labels('instance', 'Worker', 'doorward_build_info{job="$job"}', true)] else []),
    },
    panels: [placed[place] { id: place + 1 } for place in std.range(0, std.length(placed) - 1)],
  },
}
