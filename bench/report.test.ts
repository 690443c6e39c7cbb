import { expect, test } from 'vitest'
import type { Figures } from './measure.ts'
import { resultTable, targetTable, valuesOf } from './report.ts'
import type { Results } from './rounds.ts'
import { scenarios } from './scenarios.ts'
import { direct, relay } from './subjects/bare.ts'
import { headgate } from './subjects/headgate.ts'

const none: Figures = {
  ...{ perSecond: Number.NaN, seconds: Number.NaN, cpuMicros: Number.NaN, mainMicros: Number.NaN, p50Ms: Number.NaN, p99Ms: Number.NaN },
  ...{
    firstP50Ms: Number.NaN,
    firstP99Ms: Number.NaN,
    lateP99Ms: Number.NaN,
    silenceMs: Number.NaN,
    memoryMiB: Number.NaN,
    loadBusy: Number.NaN,
  },
}
const rounds = (name: keyof Figures, values: readonly number[]) => values.map(value => ({ ...none, [name]: value }))

/** In the third round the machine was slow for everybody. */
const results: Results = {
  runs: new Map([
    [
      'json50',
      new Map([
        ['relay', rounds('cpuMicros', [50, 50, 100])],
        ['headgate', rounds('cpuMicros', [90, 100, 200])],
      ]),
    ],
    [
      'one',
      new Map([
        ['direct', rounds('p50Ms', [0.1, 0.1, 5])],
        ['headgate', rounds('p50Ms', [0.5, 0.6, 5.5])],
      ]),
    ],
  ]),
  ...{ commitsMs: [0.1, 0.2, 0.3], loads: [1], audits: [], struckOut: [], profiles: [] },
}

test('what is added is taken against the same round', () => {
  const added = valuesOf(results, { scenario: 'one', figure: 'p50Ms', added: true }, 'headgate')
  expect(added.map(ms => ms.toFixed(2))).toEqual(['0.40', '0.50', '0.50'])
})

test('ratios are taken round by round, so that a slow machine does not show', () =>
  expect(targetTable(results)).toMatch(/CPU per JSON call, 50 in flight, × bare relay \| +≤ 2 \| +2.00 \(1.80–2.00\)/))

test('the commit of the same run is taken off the added latency', () =>
  expect(targetTable(results)).toMatch(/beyond one synced commit, p50 ms \| +≤ 0.4 \| +0.30 \(0.20–0.30\)/))

test('a table has only what was measured, and a dash for who was not', () => {
  const table = resultTable(results, [direct, relay, headgate], scenarios.slice(0, 1))
  expect(table).toMatch(/CPU µs a call \| +– \| +50.0 \(50.0–100\) \| +100 \(90.0–200\) \|/)
  expect(table).not.toContain('one at a time')
})
