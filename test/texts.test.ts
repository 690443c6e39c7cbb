import { globSync, readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { type FaultEntry, faults } from '../src/lib/fault.ts'

/** What clients act on is held by its exact text: every message of the catalogue stands in a test that asks a real gateway. */

const tests = globSync(['test/journey/**/*.ts', 'test/anomaly/**/*.ts', 'src/gateway/**/*.test.ts'])
  .map(path => readFileSync(path, 'utf8'))
  .join('\n')

/** Nobody can see these on the wire. */
const untold = new Set(['client_left'])

test.for(Object.entries<FaultEntry>(faults).filter(([name]) => !untold.has(name)))('%s is asserted by its text', ([, { message }]) => {
  // Of a text with blanks to be filled in, each part between them.
  for (const part of message.split(/\{\w+\}/)) {
    const text = part.trim()
    if (text.length > 3)
      expect(
        spellings(text).some(spelling => tests.includes(spelling)),
        text,
      ).toBe(true)
  }
})

/** As it may stand in the source: in quotes of either kind, or in a regular expression. */
function spellings(text: string): string[] {
  const quoted = text.replaceAll("'", "\\'")
  const escaped = text.replace(/[.()?*+[\]{}|^$]/g, match => `\\${match}`)
  return [text, quoted, escaped, text.replaceAll('`', '\\`')]
}
