import { Registry } from 'prom-client'
import { expect, test } from 'vitest'
import { Count, Spread, Tally } from './tally.ts'

test('what was counted is told in the text that Prometheus reads', async () => {
  const registry = new Registry()
  const count = new Count({ name: 'calls_total', help: 'Calls.', registry })
  const tally = new Tally({ name: 'ends_total', help: 'Ends.', labelNames: ['ended', 'fault'], registry })
  const spread = new Spread({ name: 'wait_seconds', help: 'Waits.', bounds: [0.1, 1], registry })
  count.inc()
  count.inc(1.5)
  tally.inc({ ended: 'completed', fault: '' })
  tally.inc({ ended: 'refused', fault: 'a "quoted" one' }, 2)
  tally.inc({ fault: '', ended: 'completed' })
  for (const seconds of [0.05, 0.1, 0.11, 7]) spread.observe(seconds)
  expect(await registry.metrics()).toBe(`# HELP calls_total Calls.
# TYPE calls_total counter
calls_total 2.5

# HELP ends_total Ends.
# TYPE ends_total counter
ends_total{ended="completed",fault=""} 2
ends_total{ended="refused",fault="a \\"quoted\\" one"} 2

# HELP wait_seconds Waits.
# TYPE wait_seconds histogram
wait_seconds_bucket{le="0.1"} 2
wait_seconds_bucket{le="1"} 3
wait_seconds_bucket{le="+Inf"} 4
wait_seconds_sum 7.26
wait_seconds_count 4
`)
})
