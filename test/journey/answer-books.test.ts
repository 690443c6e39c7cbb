import { describe, expect, test } from 'vitest'
import { openLog } from '../../src/lib/log.ts'
import { statement } from '../../src/storage/database.ts'
import { openStream, send } from '../client.ts'
import { gauge, openWorld, until, type World } from '../world.ts'
import { type ControlledBooks, controlledBooks } from './controlled.ts'

/** SPEC 1.8: before the last byte reaches the client, the charge is durable. */

/** Each hold and each end is asked of the books; daybook.test.ts has those that are written down first. */
const asked = ({ adapters }: ControlledBooks) => ({ ...adapters, holdsInBooks: true })

const patient = { settleWithinMs: 60_000 }
const brief = { settleWithinMs: 30 }

/** The call is charged once, what the upstream's invoice says, and everything is given back. */
async function expectChargedOnce(world: World): Promise<void> {
  await world.quiet()
  const [row, ...more] = await world.rows()
  expect(more).toEqual([])
  const [line] = world.sim.invoice
  expect(row).toMatchObject({ ended: 'completed', basis: 'reported', cost: line!.costNanos, uncollected: 0n })
  const charges = await world.database.report(statement(`select reference, amount from entries where kind = 'charge'`))
  expect(charges).toEqual([{ reference: row!.id, amount: -line!.costNanos }])
  expect(await world.balance()).toEqual({ balance: 100_000_000_000n - line!.costNanos, held: 0n })
}

describe('while the books take their time', () => {
  test('a stream’s last event is held back, and only that', async () => {
    const books = controlledBooks()
    await using world = await openWorld({ settings: patient, adapters: asked(books) })
    books.books = 'slow'
    await using stream = openStream(world)
    await stream.until('response.output_item.done')
    await until(() => books.waiting === 1, 'nothing is being settled')
    await world.sim.idle()
    expect(await gauge(world, 'headgate_account_slots_taken')).toBe(0) // Given back before settling.
    expect(await gauge(world, 'headgate_calls_running')).toBe(1)
    expect(stream.text).not.toContain('response.completed')
    books.letGo()
    expect((await stream.next())?.type).toBe('response.completed')
    expect(await stream.next()).toBeUndefined()
    await expectChargedOnce(world)
  })

  test('nothing of a JSON answer is sent', async () => {
    const books = controlledBooks()
    await using world = await openWorld({ settings: patient, adapters: asked(books) })
    books.books = 'slow'
    let isAnswered = false
    const answer = send(world).finally(() => {
      isAnswered = true
    })
    await until(() => books.waiting === 1, 'nothing is being settled')
    expect(await gauge(world, 'headgate_account_slots_taken')).toBe(0)
    expect(isAnswered).toBe(false)
    books.letGo()
    expect((await answer).status).toBe(200)
    await expectChargedOnce(world)
  })

  test('a client that leaves then is charged all the same', async () => {
    const books = controlledBooks()
    await using world = await openWorld({ settings: patient, adapters: asked(books) })
    books.books = 'slow'
    await using stream = openStream(world)
    await until(() => books.waiting === 1, 'nothing is being settled')
    stream.leave()
    books.letGo()
    await expectChargedOnce(world)
  })
})

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

describe.for(Object.keys(clients))('when the books do not take the charge in time (%s)', who => {
  const call = clients[who]!

  test('it goes to the journal, the answer is finished, and a late commit charges it once', async () => {
    const books = controlledBooks()
    await using world = await openWorld({ settings: brief, adapters: asked(books) })
    books.books = 'slow'
    await call(world)
    expect(await gauge(world, 'headgate_owed')).toBe(1)
    expect(await gauge(world, 'headgate_unwritten')).toBe(0)
    books.letGo()
    await until(async () => (await gauge(world, 'headgate_owed')) === 0, 'the journal is not taken')
    await expectChargedOnce(world)
  })

  test.for(['away', 'lost'] as const)('(%s) the journal has it until they are back', async how => {
    const books = controlledBooks()
    await using world = await openWorld({ adapters: asked(books) })
    if (how === 'lost') {
      books.books = how
      await call(world)
    } else {
      await callWithKnownKey(world, books, call)
    }
    expect(await gauge(world, 'headgate_owed')).toBe(1)
    books.books = 'well'
    await until(async () => (await gauge(world, 'headgate_owed')) === 0, 'the journal is not taken')
    await expectChargedOnce(world)
  })

  test('and the journal refuses too, the answer is finished, the charge kept and said, and taken later', async () => {
    const books = controlledBooks()
    const lines: string[] = []
    const log = openLog('error', { write: line => void lines.push(line) })
    await using world = await openWorld({ adapters: asked(books), log })
    books.journal = 'refuses'
    await callWithKnownKey(world, books, call)
    expect(await gauge(world, 'headgate_unwritten')).toBe(1)
    const ready = await fetch(`${world.url}/readyz`)
    expect(ready.status).toBe(503)
    expect(await ready.json()).toMatchObject({ ready: false, why: expect.arrayContaining([expect.stringContaining('in memory only')]) })
    const [line] = world.sim.invoice
    const said = lines.map(text => JSON.parse(text)).find(({ end }) => end !== undefined)
    expect(said.end).toMatchObject({
      charge: { cost: String(line!.costNanos) },
      row: { userId: world.user.id, cost: String(line!.costNanos) },
    })

    books.books = 'well'
    await until(async () => (await gauge(world, 'headgate_unwritten')) === 0, 'what is in memory is not taken')
    expect((await fetch(`${world.url}/readyz`)).status).toBe(200)
    await expectChargedOnce(world)
  })
})

test('the journal alone is enough to be ready', async () => {
  const books = controlledBooks()
  await using world = await openWorld({ settings: brief, adapters: asked(books) })
  books.books = 'slow'
  expect((await send(world)).status).toBe(200)
  expect(await gauge(world, 'headgate_owed')).toBe(1)
  expect((await fetch(`${world.url}/readyz`)).status).toBe(200)
  books.letGo()
  await until(async () => (await gauge(world, 'headgate_owed')) === 0, 'the journal is not taken')
  await expectChargedOnce(world)
})

test('what is in memory goes to the journal as soon as that takes it', async () => {
  const books = controlledBooks()
  await using world = await openWorld({ adapters: asked(books) })
  books.journal = 'refuses'
  await callWithKnownKey(world, books, clients.json!)
  expect(await gauge(world, 'headgate_unwritten')).toBe(1)
  books.journal = 'well'
  await until(async () => (await gauge(world, 'headgate_owed')) === 1, 'the journal does not get it')
  expect(await gauge(world, 'headgate_unwritten')).toBe(0)
  books.books = 'well'
  await until(async () => (await gauge(world, 'headgate_owed')) === 0, 'the journal is not taken')
  await expectChargedOnce(world)
})

/** The books go away once the call is under way: before, it would not be let in. */
async function callWithKnownKey(
  world: World,
  books: ReturnType<typeof controlledBooks>,
  call: (world: World) => Promise<unknown>,
): Promise<void> {
  const gate = world.sim.gate('under way')
  gate.shut()
  world.sim.script({}, { hold: 'under way' })
  const answered = call(world)
  await gate.reached()
  books.books = 'away'
  gate.open()
  await answered
}
