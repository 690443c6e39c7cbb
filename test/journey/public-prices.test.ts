import { expect, test } from 'vitest'
import { giveFirstPrices } from '../../src/directory/first-prices.ts'
import { formatUsd, parseUsd } from '../../src/ledger/money.ts'
import { type Log, silentLog } from '../../src/lib/log.ts'
import { statement } from '../../src/storage/database.ts'
import { send } from '../client.ts'
import { openWorld } from '../world.ts'

/** SPEC 2, the price book: what a new data folder begins with. */

/** default, flex and batch of 25 models, fast of 22; of these for long inputs 3 × 10 and 7; ultrafast twice, each for both bands. */
const lines = 3 * 25 + 22 + 3 * 10 + 7 + 2 * 2

test('a new data folder has the public prices before its first call', async () => {
  const said: unknown[] = []
  const log: Log = Object.assign(Object.create(silentLog), { info: (...line: unknown[]) => void said.push(line) })
  await using world = await openWorld({ prices: [], adapters: { prepareBooks: giveFirstPrices }, log })
  expect(said).toContainEqual([{ models: 25, lines }, expect.stringContaining('now has the public prices')])

  world.sim.script({}, { usage: { input_tokens: 1000, input_tokens_details: { cached_tokens: 400 }, output_tokens: 100 } })
  const { status } = await send(world, { body: { model: 'gpt-5.4-mini-2026-03-17', input: 'x' } })
  expect(status).toBe(200)
  const [row] = await world.rows()
  // 600 × 0.75 + 400 × 0.075 + 100 × 4.50 = 450 + 30 + 450 millionths of a dollar.
  expect(formatUsd(BigInt(row!['cost'] as bigint))).toBe('0.00093')
  const [price] = await world.database.report(statement('select model, source from prices where id = $1'), [row!['price_id']!])
  expect(price).toEqual({ model: 'gpt-5.4-mini', source: '@pydantic/genai-prices 0.1.8 of 2026-09-23' })
  await world.quiet()

  await giveFirstPrices(world.database, world.headgate.gateway.clock, log)
  expect(said.filter(line => JSON.stringify(line).includes('public prices'))).toHaveLength(1)
})

test('books that had a price once keep what they have, be it nothing', async () => {
  await using world = await openWorld()
  const { clock } = world.headgate.gateway
  await world.commit([{ statement: statement('update prices set effective_to = effective_from'), values: [] }])
  const before = await world.database.report(statement('select * from prices'))
  await giveFirstPrices(world.database, clock, silentLog)
  expect(await world.database.report(statement('select * from prices'))).toEqual(before)
})

test('a tier without a price of its own is priced as default, and that can be seen', async () => {
  await using world = await openWorld({ prices: [{}, { tier: 'fast', output: parseUsd('20') }] })
  for (const serviceTier of ['priority', 'ultrafast']) {
    world.sim.script({}, { serviceTier, outputTokens: 10 })
    await send(world, { body: { model: 'sim', input: 'x' } })
  }
  const tiers = statement('select calls.tier, prices.tier as priced from calls join prices on prices.id = calls.price_id order by calls.id')
  await world.rows()
  expect(await world.database.report(tiers)).toEqual([
    { tier: 'priority', priced: 'fast' },
    { tier: 'ultrafast', priced: 'default' },
  ])
  const counted = await world.headgate.gateway.metrics.tierUnpriced.get()
  expect(counted.values).toMatchObject([{ labels: { model: 'sim' }, value: 1 }])
  await world.quiet()
})

test('input that is to stay in the cache for twelve hours is held at what that costs', async () => {
  await using world = await openWorld()
  const body = { model: 'sim', input: 'x'.repeat(2000), max_output_tokens: 16 }
  await send(world, { body })
  await send(world, { body: { ...body, prompt_cache_options: { ttl: '12h' } } })
  const [usual, kept] = await world.rows()
  const held = (row: typeof usual) => BigInt(row!['held'] as bigint) - 16n * 10_000n
  // 5 USD a million in place of 2.50; the few bytes of the option itself are input too, in an estimate by bytes.
  expect(Number(held(kept)) / Number(held(usual))).toBeGreaterThanOrEqual(2)
  await world.quiet()
})

test('of two gateways that start at once one gives the prices', async () => {
  await using world = await openWorld({ prices: [] })
  const { clock } = world.headgate.gateway
  await Promise.all([1, 2].map(() => giveFirstPrices(world.database, clock, silentLog)))
  const versions = await world.database.report(statement('select model, tier, context_over, effective_from from prices'))
  expect(versions).toHaveLength(lines)
})
