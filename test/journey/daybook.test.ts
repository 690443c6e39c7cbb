import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { readConfig } from '../../src/config.ts'
import { openHeadgate } from '../../src/headgate.ts'
import { silentLog } from '../../src/lib/log.ts'
import { type Database, statement } from '../../src/storage/database.ts'
import { openStream, refusalOf, send } from '../client.ts'
import { gauge, openWorld, quick, until, type World } from '../world.ts'
import { controlledBooks } from './controlled.ts'

/** A gateway that has its books for itself writes down what has ended, and lets the books have it behind the client's back. */

const clients: Readonly<Record<string, (world: World) => Promise<unknown>>> = {
  async json(world) {
    expect((await send(world)).json.status).toBe('completed')
  },
  async stream(world) {
    await using stream = openStream(world)
    await stream.until('response.completed')
    expect(await stream.next()).toBeUndefined()
  },
}

const isShared = process.env['HEADGATE_TEST_DATABASE'] === 'postgres'

describe.skipIf(isShared).for(Object.keys(clients))('what has ended (%s)', who => {
  const call = clients[who]!

  test('is waited for by nobody, however slow the books are, and charged once', async () => {
    await using ground = await openGround()
    const { world, books } = ground
    books.books = 'slow'
    await call(world)
    await call(world)
    await until(() => books.waiting > 0, 'the books are not told')
    expect(await gauges(world)).toEqual({ unposted: 2, owed: 0, unwritten: 0 })
    expect((await fetch(`${world.url}/readyz`)).status).toBe(200)
    books.letGo()
    await until(async () => (await gauge(world, 'headgate_unposted')) === 0, 'the books do not get it')
    await expectChargedOnce(world, 2)
  })

  test.for(['away', 'lost'] as const)('(%s) stays in the daybook until the books are back', async how => {
    await using ground = await openGround()
    const { world, books } = ground
    await call(world) // From here on it is known what they have.
    await world.quiet()
    books.books = how
    await call(world)
    await world.headgate.gateway.atHand!.post()
    expect(await gauges(world)).toEqual({ unposted: 1, owed: 0, unwritten: 0 })
    // They have been seen to take nothing: nobody new is let in on what is thought to be free.
    if (how === 'away') expect(refusalOf(await send(world))).toMatchObject({ status: 503, code: 'billing_unavailable' })
    books.books = 'well'
    await until(async () => (await gauge(world, 'headgate_unposted')) === 0, 'the books do not get it')
    await until(async () => (await gauge(world, 'headgate_owed')) === 0, 'the journal is not taken')
    await expectChargedOnce(world, 2)
  })
})

test.skipIf(isShared)('whoever looks finds it in the books at once', async () => {
  await using ground = await openGround()
  const { world } = ground
  for (let calls = 1; calls <= 3; calls += 1) {
    await send(world)
    const rows = await world.database.read(statement('select id from calls'))
    expect(rows).toHaveLength(calls)
    const reported = await world.database.report(statement(`select reference from entries where kind = 'charge'`))
    expect(reported).toHaveLength(calls)
  }
})

test.skipIf(isShared)('should the gateway die, the next one books it before it serves anybody', async () => {
  await using ground = await openGround()
  const { world, books } = ground
  books.books = 'slow'
  await send(world)
  await send(world)
  await until(() => books.waiting > 0, 'the books are not told')
  // As the disk is at this moment: nothing of them has reached the books.
  const folder = mkdtempSync(join(tmpdir(), 'headgate-died-'))
  try {
    cpSync(join(world.folder, 'data'), folder, { recursive: true })
    for (const file of ['lock', 'lock-journal', 'lock.owner']) rmSync(join(folder, file), { force: true })
    let database: Database | undefined
    const { settings: defaults } = readConfig({ env: {}, flags: {}, cwd: folder })
    const settings = { ...defaults, ...quick, data: folder, listen: { host: '127.0.0.1', port: 0 } }
    const next = await openHeadgate(settings, silentLog, needs => {
      database = needs.database
      return (_, response) => response.end()
    })
    const rows = await database!.read(statement('select id, ended, uncollected from calls order by id'))
    expect(rows).toMatchObject(Array(2).fill({ ended: 'completed', uncollected: 0n }))
    await expectCharges(database!, world)
    expect(await database!.read(statement(`select id from holds where state not in ('settled', 'settled_late')`))).toEqual([])
    expect(await next.gateway.ledger.check()).toEqual([])
    await next.stop()
    expect(existsSync(join(folder, 'calls.daybook.damaged'))).toBe(false)
  } finally {
    rmSync(folder, { recursive: true })
    books.letGo()
  }
})

async function openGround() {
  const books = controlledBooks()
  const world = await openWorld({ adapters: books.adapters })
  return { world, books, [Symbol.asyncDispose]: () => world[Symbol.asyncDispose]() }
}

async function gauges(world: World): Promise<Readonly<Record<string, number>>> {
  const names = ['unposted', 'owed', 'unwritten'] as const
  const values = await Promise.all(names.map(name => gauge(world, `headgate_${name}`)))
  return Object.fromEntries(names.map((name, index) => [name, values[index]!]))
}

async function expectChargedOnce(world: World, calls: number): Promise<void> {
  await world.quiet()
  const served = (await world.rows()).filter(({ ended }) => ended !== 'refused')
  expect(served).toMatchObject(Array(calls).fill({ ended: 'completed', basis: 'reported', uncollected: 0n }))
  await expectCharges(world.database, world)
  const sum = world.sim.invoice.reduce((costs, { costNanos }) => costs + costNanos, 0n)
  expect(await world.balance()).toEqual({ balance: 100_000_000_000n - sum, held: 0n })
}

async function expectCharges(database: Database, { sim }: World): Promise<void> {
  const charges = await database.report(statement(`select amount from entries where kind = 'charge' order by id`))
  expect(charges).toEqual(sim.invoice.map(({ costNanos }) => ({ amount: -costNanos })))
}
