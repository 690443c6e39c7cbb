import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { refusalOf, send } from '../client.ts'
import { openWorld, type World } from '../world.ts'

function sdk({ url, key }: Pick<World, 'url' | 'key'>): OpenAI {
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
}

const long = 'The gate is opened at dawn. '.repeat(200)

test('a compaction is billed by its usage, and what comes of it can be sent on', async () => {
  await using world = await openWorld()
  const { responses } = sdk(world)
  const compacted = await responses.compact({ model: 'sim', input: long })
  expect(compacted.object).toBe('response.compaction')
  const [row] = await world.rows()
  const [line] = world.sim.invoice
  expect(line).toMatchObject({ of: 'compact', usageReported: true })
  expect(row).toMatchObject({
    basis: 'reported',
    cost: line!.costNanos,
    uncollected: 0n,
    path: '/v1/responses/compact',
    ended: 'completed',
  })
  const next = await responses.create({ model: 'sim', input: [...compacted.output, { role: 'user', content: 'go on' }] as never })
  expect(next.status).toBe('completed')
  await world.quiet()
})

test('a compaction is held whole, for as much output as input, and refused when that does not fit', async () => {
  await using world = await openWorld({ balance: '0.02' })
  const { responses } = sdk(world)
  await responses.compact({ model: 'sim', input: 'a short one' })
  const body = { model: 'sim', input: 'x'.repeat(4000) } // At most 2,000 tokens: 0.004 of input and 0.02 of output.
  const refused = await send(world, { path: '/v1/responses/compact', body })
  expect(refusalOf(refused)).toMatchObject({ status: 429, code: 'insufficient_quota' })
  expect((await send(world, { body: { ...body, max_output_tokens: 100 } })).status).toBe(200)
  await world.quiet()
})

test('a compaction of what is stored goes to the account that has it, and a stranger’s is unknown', async () => {
  await using world = await openWorld({ accounts: [{}, {}] })
  const stranger = await world.addKey(await world.addUser())
  const { responses } = sdk(world)
  const made = await responses.create({ model: 'sim', input: long })
  for (let n = 0; n < 3; n++) await responses.compact({ model: 'sim', previous_response_id: made.id })
  expect(new Set(world.sim.attempts.map(({ key }) => key)).size).toBe(1)
  for (const path of ['/v1/responses/compact', '/v1/responses/input_tokens']) {
    const refused = await send(world, { path, key: stranger.secret, body: { model: 'sim', previous_response_id: made.id } })
    expect(refusalOf(refused)).toMatchObject({ status: 400, code: 'previous_response_not_found' })
  }
  await world.quiet()
})

test('input tokens are counted by the upstream, for nothing, also with an empty wallet', async () => {
  await using world = await openWorld({ balance: '0' })
  const counted = await sdk(world).responses.inputTokens.count({ model: 'sim', input: 'how long is this?' })
  expect(counted).toEqual({ object: 'response.input_tokens', input_tokens: expect.any(Number) })
  expect((await world.rows())[0]).toMatchObject({ cost: 0n, held: 0n, basis: 'none', ended: 'completed', input_tokens: 0n })
  await world.quiet()
})

test.each([
  ['/v1/responses/compact', { compact: false }, 'speaks no compaction'],
  ['/v1/responses/input_tokens', { responses: false }, 'speaks no Responses API'],
])('%s is not asked of an account that cannot do it', async (path, lacking, says) => {
  await using world = await openWorld()
  const [account] = world.accounts
  await world.changeAccount(account!, { capabilities: { ...account!.capabilities, ...lacking } })
  const refused = refusalOf(await send(world, { path, body: { model: 'sim', input: 'x' } }))
  expect(refused).toMatchObject({ status: 503, message: `No available accounts: a1 ${says}` })
  await world.quiet()
})
