import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import type { Row } from '../../src/storage/database.ts'
import { openStream, send, type Target } from '../client.ts'
import { until } from '../world.ts'
import { runCommand, startGateway } from './gateway-process.ts'
import { chargesByCall, leaveBooks, select, withBooks } from './left-books.ts'

/** T2: whatever a client saw complete has its one row and its one charge, however often the gateway is killed. */

const kills = process.env.HEADGATE_TEST_FULL ? 40 : 4
const inFlight = 24
const leaseMs = 1_000
const leaseRenewMs = 300
/** The promise is the lease and one renewal; a machine with other work may be so much later. */
const busyMachineMs = 3_000
const settings = { leaseMs, leaseRenewMs, settleWithinMs: 50 }

/** What clients heard, by call id. */
interface Heard {
  /** Whole answers, with the id of the response. */
  readonly complete: Map<string, string>
  /** Streams that ended with `response.failed`: an end as well, and an acknowledged one. */
  readonly failed: Set<string>
  /** Streams that their clients left after the first words, with the id of the response. */
  readonly left: Map<string, string>
}

test(`killed under load ${kills} times, it loses and doubles nothing`, { timeout: 60_000 + kills * 15_000 }, async () => {
  const accounts = [{ concurrency: 0 }, { concurrency: 0 }, { concurrency: 0 }]
  await using world = await leaveBooks({ user: { concurrency: 0 }, accounts, balance: '1000' })
  // Some calls are short, some are long enough to be in the middle of everything. One account fails, one breaks off.
  world.sim.script({}, many([{}, { betweenEventsMs: 3 }, { firstEventAfterMs: 20 }, {}, { deltas: 40, betweenEventsMs: 5 }]))
  world.sim.script({ key: 'up-a2' }, { status: 500 })
  world.sim.script({ key: 'up-a3' }, many([{}, {}, {}, { end: 'cut', afterEvents: 5 }]))
  const heard: Heard = { complete: new Map(), failed: new Set(), left: new Map() }
  let killedMs = 0
  let owed = 0
  for (let kill = 0; kill < kills; kill += 1) {
    await using gateway = await startGateway(world.data, settings)
    // Another moment each time, and never so many that a busy machine is taken for one that does not serve.
    const enough = heard.complete.size + 60 + ((kill * 7) % 60)
    const load = underLoad({ url: gateway.url, key: world.key }, heard)
    await until(() => heard.complete.size >= enough, 'the load is not served')
    using blocked = kill % 2 === 1 ? await blockBooks(world.data, heard) : undefined
    owed += blocked?.owed ?? 0
    // Now and then what the journal has is on its way into the books as well.
    if (kill % 4 === 3) blocked?.[Symbol.dispose]()
    gateway.child.kill('SIGKILL')
    killedMs = Date.now()
    await gateway.exit
    load.stop()
    await load.stopped
  }
  // The folder is free at once: the next one starts on it, and takes what the journal has before it does anything else.
  await using last = await startGateway(world.data, settings)
  const startedMs = Date.now() - killedMs
  await withBooks(world.data, database => until(async () => (await held(database)) === 0, 'money is still held'))
  const goneMs = Date.now() - killedMs
  expect(goneMs).toBeLessThan(Math.max(leaseMs, startedMs) + leaseRenewMs + busyMachineMs)
  expect(statSync(join(world.data, 'owed.journal')).size).toBe(0)
  expect(await runCommand(last, world.data, 'ledger', 'check')).toEqual({ code: 0, out: 'The books balance.\n', err: '' })
  last.child.kill('SIGTERM')
  expect(await last.exit).toBe(0)
  expect(existsSync(join(world.data, 'owed.journal.damaged'))).toBe(false)

  await withBooks(world.data, async database => {
    const list = await select(database, 'select * from calls')
    const rows = new Map(list.map(row => [String(row.id), row]))
    const charges = await chargesByCall(database)
    const invoiced = new Map(world.sim.invoice.map(line => [line.responseId, line.costNanos]))
    for (const [id, responseId] of heard.complete) {
      const cost = invoiced.get(responseId)!
      expect(rows.get(id)).toMatchObject({ ended: 'completed', basis: 'reported', cost, uncollected: 0n })
      expect(charges.get(id)).toEqual([-cost])
    }
    for (const id of heard.failed) expect(rows.get(id)).toMatchObject({ ended: 'cut', basis: 'estimated' })
    for (const [id, responseId] of heard.left) {
      const row = rows.get(id)
      if (row?.basis === 'drained') expect(charges.get(id)).toEqual([-invoiced.get(responseId)!])
    }
    expect(rows.size).toBe(list.length)
    for (const [id, amounts] of charges) expect(amounts).toEqual([-(rows.get(id)!.cost as bigint)])
    for (const row of list) if (row.ended === 'gateway_died') expect(row).toMatchObject({ cost: 0n, basis: 'none' })
    console.log(figures(list, heard, { owed, startedMs, goneMs }))
  })
})

/** A list is used up, and its last script stays: long enough for no run to come to that. */
function many<Script>(scripts: readonly Script[]): Script[] {
  return Array.from({ length: 4_000 }, () => scripts).flat()
}

/**
 * Another program has SQLite's write lock, and so the books are slow: what ends goes to the journal. Resolves when the journal has
 * charges, and their clients have their answers.
 */
async function blockBooks(data: string, { complete }: Heard) {
  const other = new DatabaseSync(join(data, 'headgate.db'), { timeout: 5_000 })
  other.exec('begin immediate')
  const journal = join(data, 'owed.journal')
  const before = complete.size
  await until(() => statSync(journal).size > 0 && complete.size > before, 'nothing goes to the journal')
  let isOver = false
  return {
    owed: readFileSync(journal, 'utf8').split('\n').length - 1,
    [Symbol.dispose]() {
      if (!isOver) other.close()
      isOver = true
    },
  }
}

type Books = Parameters<Parameters<typeof withBooks>[1]>[0]

async function held(database: Books): Promise<number> {
  return (await select(database, `select 1 as one from holds where state = 'held'`)).length
}

interface Told {
  readonly owed: number
  readonly startedMs: number
  readonly goneMs: number
}

function figures(rows: readonly Row[], { complete, failed, left }: Heard, { owed, startedMs, goneMs }: Told): string {
  const counted = (ended: string) => rows.filter(row => row.ended === ended).length
  return [
    `${kills} kills: ${complete.size} answers seen complete (${owed} ends stood in the journal), ${failed.size} seen to fail,`,
    `${left.size} left by their clients; ${rows.length} rows, ${counted('gateway_died')} of calls whose gateway died;`,
    `after the last kill the next one listened in ${startedMs} ms and no money was held in ${goneMs} ms, with a lease of ${leaseMs} ms renewed every ${leaseRenewMs} ms`,
  ].join(' ')
}

/** Calls without end: JSON answers, streams, and streams and calls that their clients leave. */
function underLoad(target: Target, heard: Heard) {
  const kinds = [oneJson, oneStream, oneJson, oneStream, oneLeft, oneUnheard]
  let isOver = false
  async function work(worker: number): Promise<void> {
    for (let call = worker; !isOver; call += 1) await kinds[call % kinds.length]!(target, heard).catch(() => undefined) // The gateway was killed: that is no answer.
  }
  const stopped = Promise.all(Array.from({ length: inFlight }, (_, worker) => work(worker)))
  return { stopped, stop: () => void (isOver = true) }
}

async function oneJson(target: Target, { complete }: Heard): Promise<void> {
  const { status, ending, headers, json } = await send(target)
  if (status === 200 && ending === 'whole') complete.set(headers['x-request-id'] as string, json.id as string)
}

async function oneStream(target: Target, { complete, failed }: Heard): Promise<void> {
  await using open = openStream(target)
  const { headers } = await open.begun
  const id = headers['x-request-id'] as string
  for (let event = await open.next(); event !== undefined; event = await open.next()) {
    if (event.type === 'response.completed') complete.set(id, event.response.id as string)
    if (event.type === 'response.failed') failed.add(id)
  }
}

async function oneLeft(target: Target, { left }: Heard): Promise<void> {
  await using open = openStream(target)
  const { headers } = await open.begun
  const { response } = await open.until('response.created')
  await open.until('response.output_text.delta')
  left.set(headers['x-request-id'] as string, response.id as string)
}

/** Leaves as soon as the call is sent. */
async function oneUnheard(target: Target): Promise<void> {
  await using open = openStream(target, { body: { stream: false } })
  await Promise.race([open.begun, new Promise(resolve => setTimeout(resolve, 10))])
}
