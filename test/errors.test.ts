import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type FaultEntry, faults } from '../src/lib/fault.ts'
import { attemptFaults } from '../src/upstreams/verdict.ts'

const page = readFileSync(new URL('../docs/errors.md', import.meta.url), 'utf8')
const [told = '', attempted = ''] = page.split('## What can become of an attempt')

test('docs/errors.md has every fault of the catalogue, in its words, and no other', () => {
  const expected = Object.entries<FaultEntry>(faults).map(([name, { status, type, code, message, source, retry }]) => [
    ...[name, String(status), type, code ?? '–', message, source, retry],
  ])
  expect(rowsOf(told).map(row => row.slice(0, -1))).toEqual(expected)
})

test('docs/errors.md has every way an attempt can fail, and no other', () => {
  const yes = (is: boolean) => (is ? 'yes' : 'no')
  const expected = Object.entries(attemptFaults).map(([name, { means, elsewhere, passing, blames }]) => [
    ...[name, means, yes(elsewhere), yes(passing), yes(blames)],
  ])
  expect(rowsOf(attempted).map(row => row.slice(0, -1))).toEqual(expected)
})

test('every fault says what helps', () => {
  for (const row of [...rowsOf(told), ...rowsOf(attempted)]) expect(row.at(-1)!.length, row[0]).toBeGreaterThan(6)
})

/** The cells of the tables’ rows, without their heads. */
function rowsOf(text: string): string[][] {
  const rows = text.split('\n').filter(line => line.startsWith('| '))
  return rows.slice(1).map(row =>
    row
      .slice(2, -2)
      .split(/ (?<!\\)\| /)
      .map(cell => cell.replaceAll('\\|', '|')),
  )
}
