import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { WorldOptions } from '../world.ts'
import { type Ground, openGround } from './ground.ts'
import type { Row } from './row.ts'
import { answers } from './rows-answers.ts'
import { connecting, failover } from './rows-failover.ts'
import { again, final } from './rows-final.ts'
import { leaving } from './rows-leaving.ts'
import { nameOf, walk } from './walk.ts'

/**
 * The journey of a call: what the upstreams do × what the client does → what the client saw, the attempts that were made, what
 * was charged held against the upstream's invoice, and what became of the accounts. One line is one journey, walked by plain
 * clients and by the `openai` package.
 */
const tables: readonly Table[] = [
  { name: 'one account answers', rows: answers },
  { name: 'another account takes over', rows: failover },
  { name: 'another account takes over, after connecting in vain', rows: connecting, settings: { connectTimeoutMs: 300 } },
  { name: 'the last account is asked once more', rows: again },
  { name: 'nobody is left', rows: final },
  { name: 'the client leaves', rows: leaving },
]

interface Table {
  readonly name: string
  readonly rows: readonly Row[]
  readonly settings?: WorldOptions['settings']
}

/** So short that what never comes is missed soon, and longer than this machine is ever busy with one answer. */
const impatient = { jsonHeadersTimeoutMs: 700, firstEventTimeoutMs: 700, betweenBytesTimeoutMs: 700 }

for (const { name: table, rows, settings = impatient } of tables) {
  describe(table, () => {
    let ground: Ground
    beforeAll(async () => {
      ground = await openGround({ settings })
    })
    afterAll(() => ground[Symbol.asyncDispose]())

    const journeys = rows.flatMap(row => (row.by ?? (['json', 'stream'] as const)).map(who => ({ who, row, name: nameOf(row) })))
    test.for(journeys)('$name ($who)', ({ who, row }) => walk(who, row, ground))
  })
}

test('the table has what was promised of it', () => {
  const rows = tables.flatMap(({ rows }) => rows)
  const bySdk = rows.filter(({ by = [] }) => by.some(who => who.startsWith('sdk')))
  expect(rows.length).toBeGreaterThanOrEqual(60)
  expect(bySdk.length).toBeGreaterThanOrEqual(15)
  expect(new Set(rows.flatMap(({ by = [], leaves }) => by.map(who => `${who} ${leaves ?? ''}`))).size).toBeGreaterThanOrEqual(8)
})
