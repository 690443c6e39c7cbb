import OpenAI from 'openai'
import OpenAI6 from 'openai6'
import { describe, expect, test } from 'vitest'
import type { Script } from '../../sim/script.ts'
import { type Json, refusalOf, send, type Target } from '../client.ts'
import { openWorld, until } from '../world.ts'
import { markCalls } from './books.ts'
import { expectBilled } from './chatting.ts'

/** `POST /v1/embeddings`: money for the input alone, and otherwise like any call. */

const path = '/v1/embeddings'
const embed = (target: Target, more: object = {}) =>
  send(target, { path, body: { model: 'sim', input: 'Who may open the gate?', ...more } })
const billed = { basis: 'reported', ended: 'completed' } as const

test.for<[string, object, number]>([
  ['one text', {}, 1],
  ['several', { input: ['a', 'b', 'c'] }, 3],
  ['tokens', { input: [1, 2, 3] }, 1],
  ['lists of tokens', { input: [[1, 2], [3]] }, 2],
  ['with fewer dimensions, as base64', { dimensions: 8, encoding_format: 'base64' }, 1],
])('%s', async ([, more, count]) => {
  await using world = await openWorld()
  await markCalls(world)
  const { status, json } = await embed(world, more)
  expect(status).toBe(200)
  const { usage } = world.sim.invoice[0]!
  expect(json).toMatchObject({ object: 'list', model: 'sim', usage: { prompt_tokens: usage.inputTokens } })
  expect(json.data).toHaveLength(count)
  const row = await expectBilled(world, billed)
  expect(row).toMatchObject({ input_tokens: BigInt(usage.inputTokens), output_tokens: 0n, account_id: world.accounts[0]!.id })
})

test.for([
  ['openai 7', OpenAI],
  ['openai 6', OpenAI6 as unknown as typeof OpenAI],
] as const)('with %s, which asks for base64 and gives numbers', async ([, Client]) => {
  await using world = await openWorld()
  await markCalls(world)
  const client = new Client({ baseURL: `${world.url}/v1`, apiKey: world.key, maxRetries: 0 })
  const { data, usage } = await client.embeddings.create({ model: 'sim', input: ['a', 'b'], dimensions: 16 })
  expect(data.map(({ embedding }) => embedding.length)).toEqual([16, 16])
  expect(data[0]!.embedding.every(each => typeof each === 'number')).toBe(true)
  expect(usage.prompt_tokens).toBe(world.sim.invoice[0]!.usage.inputTokens)
  await expectBilled(world, billed)

  world.sim.script({}, { status: 400, error: { message: 'Too many inputs.', param: 'input' } })
  const refused = await client.embeddings.create({ model: 'sim', input: 'a' }).catch((error: unknown) => error)
  expect(refused).toBeInstanceOf(Client.BadRequestError)
  expect(refused).toMatchObject({ message: '400 Too many inputs.', param: 'input' })
  await world.quiet()
})

test('an alias is the model of request and answer', async () => {
  await using world = await openWorld({ accounts: [{ models: { small: 'sim' } }] })
  await markCalls(world)
  expect((await embed(world, { model: 'small' })).json.model).toBe('small')
  expect(JSON.parse(String(world.sim.attempts[0]!.body)).model).toBe('sim')
  await expectBilled(world, billed)
})

test('a stream that is asked for is none, and what an upstream says of it is its own business', async () => {
  await using world = await openWorld()
  await markCalls(world)
  const { status, headers } = await embed(world, { stream: true })
  expect([status, headers['content-type']]).toEqual([200, 'application/json'])
  await expectBilled(world, billed)
})

test('what is set aside is for the input, so that little money buys much', async () => {
  await using world = await openWorld({ balance: '0.0005' })
  await markCalls(world)
  expect((await embed(world)).status).toBe(200)
  expect((await send(world)).status).toBe(429)
  await world.quiet()
})

describe('another account takes over', () => {
  test.for<[string, Script]>([
    ['500', { status: 500 }],
    ['a body that is cut', { end: 'cut' }],
    ['a body that is no JSON', { rawBody: 'no' }],
  ])('after %s', async ([, script]) => {
    await using world = await openWorld({ accounts: [{ priority: 1 }, { priority: 2 }] })
    await markCalls(world)
    world.sim.script({ key: 'up-a1' }, script)
    expect((await embed(world)).status).toBe(200)
    expect(world.sim.attempts.map(({ key }) => key)).toEqual(['up-a1', 'up-a2'])
    await expectBilled(world, billed)
  })
})

test('a client that leaves pays what the invoice says', async () => {
  await using world = await openWorld()
  await markCalls(world)
  world.sim.script({}, { hold: 'gate' })
  const leaving = new AbortController()
  const left = fetch(`${world.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${world.key}` },
    body: '{"model":"sim","input":"hello"}',
    signal: leaving.signal,
  })
  left.catch(() => {}) // It leaves.
  await world.sim.gate('gate').reached()
  leaving.abort()
  await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
  world.sim.open('gate')
  await expectBilled(world, { basis: 'drained', ended: 'client_left' })
})

test('an account that speaks none is not asked', async () => {
  await using world = await openWorld()
  const [account] = world.accounts
  await world.changeAccount(account!, { capabilities: { ...account!.capabilities, embeddings: false } })
  expect(refusalOf(await embed(world))).toMatchObject({ status: 503, message: 'No available accounts: a1 speaks no Embeddings API' })
  expect((await send(world)).json as Json).toMatchObject({ object: 'response' })
  await world.quiet()
})
