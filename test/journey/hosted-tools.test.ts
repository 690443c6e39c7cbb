import { expect, test } from 'vitest'
import { formatUsd } from '../../src/ledger/money.ts'
import { type Database, statement } from '../../src/storage/database.ts'
import { openStream, send } from '../client.ts'
import { openWorld, until, type World } from '../world.ts'

/** A tool that the upstream runs may be called any number of times: what it costs is set aside as soon as it is seen. */

const search = { model: 'sim', input: 'x', stream: true, max_output_tokens: 100, tools: [{ type: 'web_search' }] }
const searchNanos = 10_000_000n
const inputNanos = 2_500n
/** A token for two bytes of the body, at the dearest. */
const readingOf = (body: object) => BigInt(Math.ceil(JSON.stringify(body).length / 2)) * inputNanos
const toolMost = searchNanos + readingOf(search)
const most = readingOf(search) + 100n * 10_000n

/** created, in_progress, and five events for each search: the gate stands right behind them. */
const eventsUntil = (searches: number) => 2 + searches * 5

const worldWith = (balance: bigint, wrapDatabase?: (database: Database) => Database): Promise<World> =>
  openWorld({
    balance: formatUsd(balance),
    prices: [{ webSearch: searchNanos }],
    ...(wrapDatabase === undefined ? {} : { adapters: { wrapDatabase } }),
  })

test('each search raises what the call has set aside, others see less that is free, and the row says the total', async () => {
  await using world = await worldWith(1_000_000_000n)
  world.sim.script({}, { webSearches: 3, hold: { gate: 'searched', at: eventsUntil(3) } })
  await using stream = openStream(world, { body: search })
  await world.sim.gate('searched').reached()
  await until(async () => (await world.balance()).held === most + 3n * toolMost, 'three searches are set aside')
  world.sim.open('searched')
  await stream.rest()
  await world.quiet()
  const [row] = await world.rows()
  expect(row).toMatchObject({ web_searches: 3n, held: most + 3n * toolMost, uncollected: 0n, ended: 'completed' })
})

test('no more than what is free is set aside, and the answer goes on', async () => {
  const free = searchNanos / 2n
  await using world = await worldWith(most + free)
  world.sim.script({}, { webSearches: 2, hold: { gate: 'searched', at: eventsUntil(2) } })
  await using stream = openStream(world, { body: search })
  await world.sim.gate('searched').reached()
  await until(async () => (await world.balance()).held === most + free, 'all that is free is set aside')
  world.sim.open('searched')
  await stream.rest()
  await world.quiet()
  expect(await world.rows()).toMatchObject([{ held: most + free, ended: 'completed' }])
})

test('books that refuse every extension spoil no answer, and without a hosted tool they are not asked', async () => {
  let asked = 0
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    commit(steps, durability) {
      if (!steps[0]?.statement.sql.startsWith('update holds set amount')) return database.commit(steps, durability)
      asked += 1
      return Promise.reject(new Error('the books refuse'))
    },
  })
  await using world = await worldWith(1_000_000_000n, wrapDatabase)
  world.sim.script({}, { webSearches: 2 })
  const { tools: _, ...plain } = search
  expect((await send(world, { body: plain })).status).toBe(200)
  expect(asked).toBe(0)
  expect((await send(world, { body: search })).status).toBe(200)
  expect(asked).toBeGreaterThan(0)
  await world.quiet()
  expect(await world.rows()).toMatchObject([
    { ended: 'completed', held: most - readingOf(search) + readingOf(plain) },
    { ended: 'completed', held: most, uncollected: 0n },
  ])
})

test('an answer without end does not have the books written without end', async () => {
  let asked = 0
  const wrapDatabase = (database: Database): Database => ({
    ...database,
    commit(steps, durability) {
      if (steps[0]?.statement.sql.startsWith('update holds set amount')) asked += 1
      return database.commit(steps, durability)
    },
  })
  await using world = await worldWith(10_000_000_000n, wrapDatabase)
  world.sim.script({}, { webSearches: 150 })
  expect((await send(world, { body: search })).status).toBe(200)
  await world.quiet()
  expect(asked).toBeLessThanOrEqual(100)
  const [row] = await world.database.report(statement('select amount from holds'))
  expect(row?.amount).toBeLessThanOrEqual(most + 100n * toolMost)
})
