// Everything that a deployment may want otherwise: who is watched, what is promised, from where on somebody is told.
// Override it from a file of your own (README.md); don't edit it.
{
  _config+:: {
    // Who. One deployment of Doorward: all workers of one consumer group.
    selector: 'job="doorward"',
    // `doorward report --watch --metrics PORT`.
    watchSelector: 'job="doorward-watch"',
    // Workers that must be ready for the others to bear the loss of one.
    minReady: 2,

    // Where the runbooks can be read: put before NAME.md.
    runbooks: 'deploy/runbooks/',

    // What is promised, over 30 days.
    slo: {
      answers: {
        // Share of partition-time in which joins are answered.
        objective: 0.999,
        // A partition is not answered while its worker's oldest waiting event has waited for longer, in seconds.
        within: 5,
      },
      latency: {
        // Share of decisions made within `le`, from the join's append to the decision's acknowledgement.
        objective: 0.99,
        // Seconds, as a bucket of doorward_decision_latency_seconds is written.
        le: '0.025',
      },
      // How fast the budget of 30 days is spent, seen over a long window and still over a short one. Source: The Site
      // Reliability Workbook (Google, 2018), chapter 5, "Multiwindow, Multi-Burn-Rate Alerts"; the row of a day and the
      // `for`s follow kubernetes-mixin. At 14.4 a fiftieth of the budget goes in an hour; at 1, all of it in 30 days.
      windows: [
        { factor: 14.4, long: '1h', short: '5m', severity: 'critical', 'for': '2m' },
        { factor: 6, long: '6h', short: '30m', severity: 'critical', 'for': '15m' },
        { factor: 3, long: '1d', short: '2h', severity: 'warning', 'for': '1h' },
        { factor: 1, long: '3d', short: '6h', severity: 'warning', 'for': '3h' },
      ],
    },

    // Thresholds: seconds, shares, counts or days, as their names say.
    lagSeconds: 10,
    deadLetterShare: 0.01,
    deadLettersAtLeast: 10,  // in ten minutes; fewer are no share worth waking for
    sweepSeconds: 300,
    unconfirmedRemovals: 100,
    documentDays: 3,
    certificateDays: 14,
    certificateCriticalDays: 2,
    geoDays: 45,  // from which on an anonymity file does not count either (DOORWARD_ANONYMITY_MAX_AGE)
    geoErrorShare: 0.01,
    loopLagSeconds: 0.5,
    hungSeconds: 20,  // a worker ends itself after DOORWARD_STALL_TIMEOUT, 30 unless set
    rebalances: 10,  // in half an hour, of one worker
    restarts: 2,  // in half an hour, of one worker
    unwatchedSeconds: 900,
  },
}
