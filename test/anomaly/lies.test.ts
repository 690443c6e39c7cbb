import { describe, expect, test } from 'vitest'
import { countByO200k } from '../../sim/o200k.ts'
import { makeSubscription } from '../../src/directory/subscriptions.ts'
import { callMost } from '../../src/ledger/money.ts'
import { statement } from '../../src/storage/database.ts'
import { send } from '../client.ts'
import { openWorld, until } from '../world.ts'

/** Numbers that nobody means: of an upstream that reports them, and of a client that asks for them. */

const most = Number.MAX_SAFE_INTEGER
const ask = { model: 'sim', input: 'hello', max_output_tokens: 100 }

describe.each([false, true])('stream %s', stream => {
  test('an answer that reports more tokens than the books can price is booked all the same, and takes what there is', async () => {
    await using world = await openWorld({ balance: '1' })
    world.sim.script({}, { usage: { input_tokens: most, output_tokens: most, input_tokens_details: { cached_tokens: most } } })
    expect((await send(world, { body: { ...ask, stream } })).status).toBe(200)
    expect(await world.rows()).toMatchObject([{ ended: 'completed', basis: 'reported', cost: callMost, uncollected: callMost - 10n ** 9n }])
    expect(await world.balance()).toEqual({ balance: 0n, held: 0n })
    expect(world.headgate.gateway.books.owed).toBe(0)
    await world.quiet()
  })

  test.each([{ input_tokens: -5 }, { output_tokens: 1.5 }, { input_tokens: 1e300 }])(
    'an answer that reports %j is not free for it',
    async usage => {
      await using world = await openWorld({ countTokens: countByO200k, settings: { estimateWithinMs: 60_000 } })
      world.sim.script({}, { usage, text: 'All of this has been read and paid for.' })
      await send(world, { body: { ...ask, stream } })
      const [row] = await world.rows()
      expect(row).toMatchObject({ basis: 'estimated', input_tokens: 1n, output_tokens: 10n, cost: 102_000n })
      await world.quiet()
    },
  )

  test('a ceiling beyond all money is lowered to what there is', async () => {
    await using world = await openWorld({ balance: '1' })
    expect((await send(world, { body: { ...ask, stream, max_output_tokens: most } })).status).toBe(200)
    const [row] = await world.rows()
    expect(row).toMatchObject({ ended: 'completed', held: 10n ** 9n, uncollected: 0n })
    expect(Number(row!.output_lowered_to)).toBeLessThan(100_000)
    await world.quiet()
  })
})

const said = (usage: object | null, more: object = {}) => ({
  id: 'resp_1',
  object: 'response',
  status: 'completed',
  model: 'sim',
  output: [],
  usage,
  ...more,
})
const created = (response: object) => ({ type: 'response.created', response: { ...response, status: 'in_progress' } })
const completed = (response: object) => ({ type: 'response.completed', response })
const delta = { type: 'response.output_text.delta', delta: 'All of this has been read and paid for.' }
const small = { input_tokens: 1, output_tokens: 10 }
const large = { input_tokens: 1_000, output_tokens: 10_000 }
const smallCost = 102_000n

test.each<[string, readonly object[], object]>([
  ['usage at the beginning only', [created(said(large)), delta, completed(said(null))], { basis: 'estimated', cost: smallCost }],
  ['two ends', [created(said(null)), delta, completed(said(small)), completed(said(large))], { basis: 'reported', cost: smallCost }],
  ['text after its end', [created(said(null)), completed(said(small)), delta, delta, delta], { basis: 'reported', cost: smallCost }],
  ['an end and nothing else', [completed(said(small))], { basis: 'reported', cost: smallCost }],
  ['the model __proto__', [completed(said(small, { model: '__proto__' }))], { cost: smallCost, served_model: '__proto__' }],
  ['no name for its model', [completed(said(small, { model: '' }))], { cost: smallCost, tier: 'default' }],
  ['the tier __proto__', [completed(said(small, { service_tier: '__proto__' }))], { cost: smallCost, tier: '__proto__' }],
  ['a tier that is a number', [completed(said(small, { service_tier: 7 }))], { cost: smallCost, tier: 'default' }],
])('a stream with %s has one bill', async (_, events, row) => {
  await using world = await openWorld({ countTokens: countByO200k, settings: { estimateWithinMs: 60_000 } })
  const rawBody = events.map(event => `data: ${JSON.stringify(event)}\n\n`).join('')
  world.sim.script({}, { rawBody, headers: { 'content-type': 'text/event-stream' } })
  const before = await world.balance()
  await send(world, { body: { ...ask, stream: true } })
  await world.quiet()
  expect(await world.rows()).toMatchObject([{ ended: 'completed', uncollected: 0n, ...row }])
  expect(await world.balance()).toEqual({ balance: before.balance - smallCost, held: 0n })
})

test('ceilings beyond all money leave the windows of a subscription without limits as they should be', async () => {
  await using world = await openWorld({ group: { pays: 'subscription' } })
  const nowMs = world.headgate.gateway.clock.nowMs()
  const unlimited = { dailyLimit: null, weeklyLimit: null, monthlyLimit: null }
  const share = { userId: world.user.id, groupId: world.group.id, startsAtMs: nowMs - 1000, endsAtMs: nowMs + 1_000_000_000 }
  await world.commit(makeSubscription({ ...share, ...unlimited }, nowMs).steps)
  world.sim.script({}, { hold: 'all are held' })
  // Each alone is below 2^63 nano-dollars, all together are not.
  const answers = Promise.all([1, 2, 3].map(() => send(world, { body: { ...ask, max_output_tokens: 900_000_000_000_000 } })))
  await until(() => world.sim.attempts.length === 3, 'the calls do not arrive')
  world.sim.open('all are held')
  expect((await answers).map(({ status }) => status)).toEqual([200, 200, 200])
  expect(await world.database.read(statement('select distinct held, typeof(used) as type from windows'))).toEqual([
    { held: 0n, type: 'integer' },
  ])
  await world.quiet()
})

test('answers that report more than anybody can use do not break the sums of a day', async () => {
  await using world = await openWorld()
  world.sim.script({}, { usage: { input_tokens: most, output_tokens: most } })
  await send(world, { body: ask })
  // As many of them as would be needed to pass 2^63 if they were taken at their word.
  await world.database.commit([{ statement: copies, values: [] }], 'synced')
  const [sum] = await world.database.report(
    statement('select count(*) as calls, sum(output_tokens) as tokens, sum(cost) as cost from calls'),
  )
  expect(sum).toEqual({ calls: 2_001n, tokens: 2_001n * 1_000_000_000_000n, cost: 2_001n * callMost })
})

const columns = ['input_tokens', 'cached_tokens', 'cache_write_tokens', 'cache_write_12h_tokens', 'output_tokens', 'reasoning_tokens']
const same = [
  ...columns,
  ...['user_id', 'key_id', 'path', 'stream', 'status', 'ended', 'basis', 'web_searches', 'file_searches', 'held', 'cost', 'uncollected'],
  ...['attempts', 'line_ms', 'duration_ms', 'address', 'instructions_added', 'began_at'],
].join(', ')
const copies = statement(`insert into calls (id, ${same}) select id || n, ${same} from calls,
  (with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 2000) select n from numbers) as copies`)
