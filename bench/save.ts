import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { chartOf } from './chart.ts'
import { shown } from './figures.ts'
import type { Plan, Results } from './rounds.ts'

/** Where and when figures were read. */
export interface Reading {
  readonly machine: string
  readonly at: Date
}

/** Writes the figures of every round as JSON, and the chart, as `<name>.json` and `<name>.svg`. Returns the paths. */
export function saveResults(
  folder: string,
  name: string,
  plan: Plan,
  { results, reading }: { readonly results: Results; readonly reading: Reading },
) {
  const { subjects, scenarios, rounds } = plan
  const { runs, commitsMs, loads, audits, struckOut } = results
  const written = {
    at: reading.at.toISOString(),
    ...{ machine: reading.machine, rounds, loads, audits, struckOut },
    subjects: subjects.map(({ name, about }) => ({ name, about })),
    scenarios: scenarios.map(({ name, about, unit }) => ({ name, about, unit })),
    commitsMs,
    runs: Object.fromEntries([...runs].map(([scenario, bySubject]) => [scenario, Object.fromEntries(bySubject)])),
  }
  mkdirSync(folder, { recursive: true })
  const paths = ['json', 'svg'].map(kind => join(folder, `${name}.${kind}`))
  writeFileSync(paths[0]!, `${JSON.stringify(written, rounded, 1)}\n`)
  writeFileSync(
    paths[1]!,
    chartOf(
      results,
      subjects.map(subject => subject.name),
      [`${reading.machine}; ${written.at.slice(0, 10)}`, `${loadOf(loads)}; rounds: ${rounds}`],
    ),
  )
  return paths
}

/** So that nobody reads a busy machine's figures for a quiet one's. */
export function loadOf(loads: readonly number[]): string {
  return `load average ${shown(Math.min(...loads))} to ${shown(Math.max(...loads))} as the rounds began`
}

/** Three decimals are more than can be repeated. What was not measured is null. */
function rounded(_: string, value: unknown): unknown {
  return typeof value === 'number' ? (Number.isFinite(value) ? Math.round(value * 1000) / 1000 : null) : value
}
