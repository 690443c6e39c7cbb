import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatUsd } from '../../src/ledger/money.ts'
import { type Ground, openGround } from './ground.ts'
import type { Row } from './row.ts'
import { endings } from './rows-endings.ts'
import { walk } from './walk.ts'

/**
 * Every way a call can end has one bill: each ending × stream and JSON × what the group does when a client leaves, held against the
 * upstream's invoice. One row, one charge at most, nothing held, the books balance: `walk` sees to that, and prints what it cost.
 */
const impatient = { jsonHeadersTimeoutMs: 700, firstEventTimeoutMs: 700, betweenBytesTimeoutMs: 700 }
/** Connecting is timed in steps of half a second. */
const impatientToConnect = { connectTimeoutMs: 300 }

let [ground, connecting]: Ground[] = []
beforeAll(async () => {
  ground = await openGround({ settings: impatient })
  connecting = await openGround({ settings: impatientToConnect })
})
afterAll(async () => {
  await ground?.[Symbol.asyncDispose]()
  await connecting?.[Symbol.asyncDispose]()
})

const policies = ['drain', 'abort'] as const
const ways = ['stream', 'json'] as const

interface Case {
  readonly ending: string
  readonly way: (typeof ways)[number]
  readonly policy: (typeof policies)[number]
  readonly row: Row
}

const cases: readonly Case[] = endings.flatMap(each =>
  ways.flatMap(way => {
    const rows = each[way]
    if (typeof rows === 'string') return []
    return policies.map(policy => ({
      ...{ ending: each.ending, way, policy },
      row: { ...('drain' in rows ? rows[policy] : rows), onClientLeft: policy },
    }))
  }),
)

const printed: string[] = []
const line = (...cells: string[]) => cells.map((cell, i) => cell.padEnd([45, 8, 8, 11, 16][i] ?? 0)).join('')

test.for(cases)('$ending ($way, $policy)', async ({ ending, way, policy, row }) => {
  const where = ending === 'connect timeout' ? connecting! : ground!
  await walk(way, row, where)
  const { sim } = where.world
  const [call] = (await where.world.rows()).slice(-1)
  const invoiced = sim.invoice.reduce((sum, { costNanos }) => sum + costNanos, 0n)
  printed.push(line(ending, way, policy, String(call!.basis), formatUsd(call!.cost as bigint), formatUsd(invoiced)))
})

test('no ending is left out', () => {
  expect(cases.length).toBe(endings.length * 4 - 4) // JSON comes in one piece: nobody leaves within it, or after it.
  expect(printed.length).toBe(cases.length)
  console.log(['', line('ENDING', 'AS', 'LEAVING', 'BASIS', 'OUR COST', 'INVOICE'), ...printed].join('\n'))
})
