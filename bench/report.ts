import { median, percentile, shown, tableOf } from './figures.ts'
import type { Figures } from './measure.ts'
import type { Results } from './rounds.ts'
import type { Scenario } from './scenarios.ts'
import type { Subject } from './subjects/subject.ts'

/** A line of the table: one figure of one scenario. */
interface Line {
  readonly scenario: string
  readonly text: string
  readonly figure: keyof Figures
  /** What the same figure of calling the upstream directly was, in the same round, is taken off. */
  readonly added?: boolean
}

const lines: readonly Line[] = [
  { scenario: 'json50', text: 'JSON, 50 in flight: calls/s', figure: 'perSecond' },
  { scenario: 'json50', text: 'CPU µs a call', figure: 'cpuMicros' },
  { scenario: 'json50', text: 'of it the main thread', figure: 'mainMicros' },
  { scenario: 'json50', text: 'p50 ms', figure: 'p50Ms' },
  { scenario: 'json50', text: 'p99 ms', figure: 'p99Ms' },
  { scenario: 'json50', text: 'load core busy, of 1', figure: 'loadBusy' },
  { scenario: 'json200', text: 'JSON, 200 in flight: calls/s', figure: 'perSecond' },
  { scenario: 'json200', text: 'CPU µs a call', figure: 'cpuMicros' },
  { scenario: 'json200', text: 'p50 ms', figure: 'p50Ms' },
  { scenario: 'json200', text: 'p99 ms', figure: 'p99Ms' },
  { scenario: 'kept50', text: 'kept, 50 in flight: calls/s', figure: 'perSecond' },
  { scenario: 'kept50', text: 'CPU µs a call', figure: 'cpuMicros' },
  { scenario: 'one', text: 'one at a time: p50 ms', figure: 'p50Ms' },
  { scenario: 'one', text: 'added p50 ms', figure: 'p50Ms', added: true },
  { scenario: 'one', text: 'added p99 ms', figure: 'p99Ms', added: true },
  { scenario: 'half', text: 'half load, open loop: calls/s', figure: 'perSecond' },
  { scenario: 'half', text: 'added p50 ms', figure: 'p50Ms', added: true },
  { scenario: 'half', text: 'added p99 ms', figure: 'p99Ms', added: true },
  { scenario: 'half', text: 'sent late by the load, p99 ms', figure: 'lateP99Ms' },
  { scenario: 'streams', text: '100 streams: CPU µs an event', figure: 'cpuMicros' },
  { scenario: 'streams', text: 'of it the main thread', figure: 'mainMicros' },
  { scenario: 'streams', text: 'sent late by the load, p99 ms', figure: 'lateP99Ms' },
  { scenario: 'streams', text: 'first event p50 ms', figure: 'firstP50Ms' },
  { scenario: 'streams', text: 'first event p99 ms', figure: 'firstP99Ms' },
  { scenario: 'streams', text: 'first event, added p50 ms', figure: 'firstP50Ms', added: true },
  { scenario: 'streams', text: 'first event, added p99 ms', figure: 'firstP99Ms', added: true },
  { scenario: 'thousand', text: '1,000 streams: events/s', figure: 'perSecond' },
  { scenario: 'thousand', text: 'CPU µs an event', figure: 'cpuMicros' },
  { scenario: 'thousand', text: 'all complete after s', figure: 'seconds' },
  { scenario: 'thousand', text: 'first event p99 ms', figure: 'firstP99Ms' },
  { scenario: 'thousand', text: 'longest silence ms', figure: 'silenceMs' },
  { scenario: 'thousand', text: 'memory MiB', figure: 'memoryMiB' },
  { scenario: 'thousand', text: 'load core busy, of 1', figure: 'loadBusy' },
]

/** The one table: figures down, subjects across; medians of the rounds, and from least to most. */
export function resultTable(results: Results, subjects: readonly Subject[], scenarios: readonly Scenario[]): string {
  const measured = lines.filter(({ scenario }) => scenarios.some(({ name }) => name === scenario))
  const head = ['', ...subjects.map(({ name }) => name)]
  return tableOf(
    head,
    measured.map(line => [line.text, ...subjects.map(({ name }) => cellOf(valuesOf(results, line, name)))]),
  )
}

function cellOf(values: readonly number[]): string {
  if (values.every(Number.isNaN)) return '–'
  if (values.length === 1) return shown(values[0]!)
  return `${shown(median(values))} (${shown(Math.min(...values))}–${shown(Math.max(...values))})`
}

/** Of each round. */
export function valuesOf({ runs }: Results, { scenario, figure, added = false }: Omit<Line, 'text'>, subject: string): readonly number[] {
  const figures = runs.get(scenario)?.get(subject) ?? []
  const direct = runs.get(scenario)?.get('direct') ?? []
  if (!added) return figures.map(round => round[figure])
  return subject === 'direct' ? [] : figures.map((round, number) => round[figure] - (direct[number]?.[figure] ?? Number.NaN))
}

/** What TARGETS asks of Headgate beside the others, and what this run showed. */
interface Target {
  readonly text: string
  readonly target: string
  readonly shownBy: (results: Results) => readonly number[]
}

const commitOf =
  (percent: number) =>
  ({ commitsMs }: Results) =>
    percentile(commitsMs, percent)

const targets: readonly Target[] = [
  { text: 'CPU per JSON call, 50 in flight, × bare relay', target: '≤ 2', shownBy: ratio('json50', 'cpuMicros', 'relay') },
  { text: 'CPU per JSON call, 200 in flight, × bare relay', target: '≤ 1.6', shownBy: ratio('json200', 'cpuMicros', 'relay') },
  { text: 'JSON calls per second, × bare relay', target: '≥ 0.5', shownBy: ratio('json50', 'perSecond', 'relay') },
  { text: 'JSON calls per second, × Portkey', target: '≥ 5', shownBy: ratio('json50', 'perSecond', 'portkey') },
  { text: 'added latency beyond one synced commit, p50 ms', target: '≤ 0.4', shownBy: beyondCommit('p50Ms', commitOf(50)) },
  { text: 'added latency beyond one synced commit, p99 ms', target: '≤ 1.5', shownBy: beyondCommit('p99Ms', commitOf(99)) },
  { text: 'CPU per streamed event, × bare relay', target: '≤ 1.3', shownBy: ratio('streams', 'cpuMicros', 'relay') },
  {
    text: 'added time to first event, 100 streams, p99 ms',
    target: '≤ 2',
    shownBy: results => valuesOf(results, { scenario: 'streams', figure: 'firstP99Ms', added: true }, 'headgate'),
  },
  {
    text: '1,000 streams: longest silence, ms',
    target: '≤ 250',
    shownBy: results => valuesOf(results, { scenario: 'thousand', figure: 'silenceMs' }, 'headgate'),
  },
  {
    text: '1,000 streams: memory, MiB',
    target: '≤ 350',
    shownBy: results => valuesOf(results, { scenario: 'thousand', figure: 'memoryMiB' }, 'headgate'),
  },
]

/** Round by round, because in one round both met the same machine. */
function ratio(scenario: string, figure: keyof Figures, other: string): Target['shownBy'] {
  return results => {
    const others = valuesOf(results, { scenario, figure }, other)
    return valuesOf(results, { scenario, figure }, 'headgate').flatMap((one, round) =>
      others[round] === undefined ? [] : one / others[round],
    )
  }
}

function beyondCommit(figure: keyof Figures, commit: (results: Results) => number): Target['shownBy'] {
  return results => valuesOf(results, { scenario: 'one', figure, added: true }, 'headgate').map(added => added - commit(results))
}

/** Only of what this run measured. */
export function targetTable(results: Results): string {
  const rows = targets.map(({ text, target, shownBy }) => [text, target, cellOf(shownBy(results))])
  const read = rows.filter(([, , cell]) => cell !== '–')
  return read.length === 0 ? '' : tableOf(['Headgate embedded', 'target', 'this run'], read)
}
