// For StatsdDaemon: a backend of the statsd daemon that appends each flush to a file as one line of
// JSON, and makes the management port answer in JSON (node's own form leaves out long arrays).
'use strict';

const fs = require('fs');
const util = require('util');

util.inspect = JSON.stringify;
util.log = util.log || console.log; // node 23 dropped it; statsd 0.9 still calls it

exports.init = function (startupTime, config, emitter) {
  emitter.on('flush', function (timestamp, metrics) {
    const { counters, gauges, timers, timer_data } = metrics;
    const line = JSON.stringify({ timestamp, counters, gauges, timers, timer_data });
    fs.appendFileSync(config.flush_file, line + '\n');
  });
  return true;
};
