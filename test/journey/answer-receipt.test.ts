import { expect, test } from 'vitest'
import { makeGroup } from '../../src/directory/groups.ts'
import { parseDecimal } from '../../src/ledger/money.ts'
import { type Answer, openStream, send } from '../client.ts'
import { openWorld, type World } from '../world.ts'

/** SPEC 1.8: what the row of a call says, field by field. */

const used = { cachedTokens: 4, cacheWriteTokens: 3, reasoning: 50, outputTokens: 80, webSearches: 2 }

/** USD 2 fresh, 0.2 cached, 2.5 written, 10 output per million tokens; half as much again for the group. */
function costOf(inputTokens: number): bigint {
  const fresh = inputTokens - used.cachedTokens - used.cacheWriteTokens
  return BigInt(Math.round((fresh * 2000 + used.cachedTokens * 200 + used.cacheWriteTokens * 2500 + used.outputTokens * 10_000) * 1.5))
}

async function dearWorld(): Promise<World & { readonly keyId: string; readonly secret: string; readonly groupId: string }> {
  const world = await openWorld({
    accounts: [
      { priority: 1, models: { fast: 'sim-2026-03-05' } },
      { priority: 2, models: { fast: 'sim' } },
    ],
    prices: [{ aliases: ['sim-2026-03-05'] }],
  })
  const group = makeGroup({ ...world.group, name: 'dear', multiplier: parseDecimal('1.5') }, Date.now())
  await world.commit(group.steps)
  for (const account of world.accounts) await world.changeAccount(account, { groupIds: [group.entity.id] })
  const key = await world.addKey(world.user, { groupIds: [group.entity.id] })
  return { ...world, keyId: key.id, secret: key.secret, groupId: group.entity.id }
}

const id = expect.stringMatching(/^[0-9a-f-]{36}$/)

test.for(['json', 'stream'] as const)('of an answer that a second account gave (%s)', async who => {
  await using world = await dearWorld()
  world.sim.script({ key: 'up-a1' }, { status: 500, headers: { 'x-request-id': 'req_first' } })
  world.sim.script({ key: 'up-a2' }, { ...used, model: 'sim-2026-03-05', headers: { 'x-request-id': 'req_second' }, firstEventAfterMs: 30 })
  const beganMs = Date.now()
  const target = { url: world.url, key: world.secret }
  const asked = { path: '/openai/v1/responses?x=1', headers: { 'user-agent': 'agent/1 '.repeat(40) } }
  const body = { model: 'fast', input: 'A few words of input, to be counted.' }
  const callId = who === 'json' ? await json(target, asked, body) : await stream(target, asked, body)
  await world.quiet()

  const inputTokens = world.sim.invoice.at(-1)!.usage.inputTokens
  const [row, ...others] = await world.rows()
  expect(others).toEqual([])
  expect(row).toEqual({
    id: callId,
    user_id: world.user.id,
    key_id: world.keyId,
    group_id: world.groupId,
    account_id: world.accounts[1]!.id,
    path: '/openai/v1/responses',
    stream: who === 'stream' ? 1n : 0n,
    requested_model: 'fast',
    served_model: 'sim-2026-03-05',
    tier: 'default',
    price_id: id,
    status: 200n,
    ended: 'completed',
    fault: null,
    basis: 'reported',
    input_tokens: BigInt(inputTokens),
    cached_tokens: 4n,
    cache_write_tokens: 3n,
    cache_write_12h_tokens: 0n,
    output_tokens: 80n,
    reasoning_tokens: 50n,
    web_searches: 2n,
    file_searches: 0n,
    held: expect.toSatisfy(held => held > costOf(inputTokens)),
    cost: costOf(inputTokens),
    uncollected: 0n,
    uncollected_why: null,
    attempts: 2n,
    line_ms: expect.toSatisfy(ms => ms >= 0n && ms < 1000n),
    first_token_ms: expect.toSatisfy(ms => ms >= 25n && ms <= BigInt(Date.now() - beganMs)),
    duration_ms: expect.toSatisfy(ms => ms >= 25n && ms <= BigInt(Date.now() - beganMs)),
    address: '127.0.0.1',
    user_agent: 'agent/1 '.repeat(25),
    instructions_added: 0n,
    output_lowered_to: expect.toSatisfy(lowered => lowered === null || typeof lowered === 'bigint'),
    repaired: null,
    upstream_request_id: 'req_second',
    began_at: expect.toSatisfy(ms => ms >= BigInt(beganMs) && ms <= BigInt(Date.now())),
  })
  expect((await world.balance()).balance).toBe(100_000_000_000n - costOf(inputTokens))

  const attempt = { call_id: callId, model: 'sim', began_at: expect.any(BigInt), duration_ms: expect.any(BigInt) }
  expect(await world.attempts()).toEqual([
    {
      ...attempt,
      number: 1n,
      account_id: world.accounts[0]!.id,
      model: 'sim-2026-03-05',
      status: 500n,
      fault: 'server',
      first_event_ms: null,
      upstream_request_id: 'req_first',
      answered: 0n,
    },
    {
      ...attempt,
      number: 2n,
      account_id: world.accounts[1]!.id,
      status: 200n,
      fault: null,
      first_event_ms: expect.toSatisfy(ms => ms >= 25n),
      upstream_request_id: 'req_second',
      answered: 1n,
    },
  ])
})

test('of a call that no account answered', async () => {
  await using world = await dearWorld()
  world.sim.script({}, { status: 503 })
  const answer = await send({ url: world.url, key: world.secret }, { body: { model: 'fast', input: 'hello', max_output_tokens: 100 } })
  expect(answer.status).toBe(502)
  expect((await world.rows())[0]).toMatchObject({
    id: answer.headers['x-request-id'],
    account_id: world.accounts[1]!.id, // The last that was asked.
    served_model: null,
    tier: null,
    price_id: null,
    status: 502n,
    ended: 'refused',
    fault: 'upstream_unavailable',
    basis: 'none',
    input_tokens: 0n,
    cost: 0n,
    uncollected: 0n,
    attempts: 2n,
    first_token_ms: null,
    upstream_request_id: null,
  })
  expect((await world.attempts()).map(({ answered, fault }) => [answered, fault])).toEqual([
    [0n, 'overloaded'],
    [0n, 'overloaded'],
  ])
  await world.quiet()
})

test('of a refusal that was relayed', async () => {
  await using world = await dearWorld()
  world.sim.script({}, { status: 400 })
  await send({ url: world.url, key: world.secret }, { body: { model: 'fast', input: 'hello' } })
  expect((await world.rows())[0]).toMatchObject({
    account_id: world.accounts[0]!.id,
    status: 400n,
    ended: 'refused',
    fault: null,
    basis: 'none',
    cost: 0n,
    attempts: 1n,
    first_token_ms: null,
  })
  expect((await world.attempts())[0]).toMatchObject({
    status: 400n,
    fault: null,
    answered: 0n,
    upstream_request_id: expect.stringMatching(/^req_/),
  })
  await world.quiet()
})

type Asked = NonNullable<Parameters<typeof send>[1]>

async function json(target: Parameters<typeof send>[0], asked: Asked, body: object): Promise<string> {
  const answer: Answer = await send(target, { ...asked, body })
  expect(answer.status).toBe(200)
  return String(answer.headers['x-request-id'])
}

async function stream(target: Parameters<typeof send>[0], asked: Asked, body: object): Promise<string> {
  await using open = openStream(target, { ...asked, body })
  const { headers } = await open.begun
  await open.until('response.completed')
  return String(headers['x-request-id'])
}
