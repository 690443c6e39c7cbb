import { describe, expect, test } from 'vitest'
import { type Answer, openStream, refusalOf, send } from '../client.ts'
import { inPoolLine, openWorld, until, type World } from '../world.ts'

/** SPEC 1.5, first: a call that refers to something that only one account has. */

/** Two accounts, of which the first has made a response; the next call without a binding would go to the second. */
async function withResponse(
  options: Parameters<typeof openWorld>[0] = {},
): Promise<World & { readonly id: string; readonly made: Answer }> {
  const world = await openWorld({ accounts: [{ concurrency: 1 }, { concurrency: 1 }], ...options })
  const made = await send(world)
  expect(made.status).toBe(200)
  expect(keys(world)).toEqual(['up-a1'])
  return { ...world, id: String(made.json.id), made }
}

const keys = ({ sim }: World) => sim.attempts.map(({ key }) => key)
const follow = (previous_response_id: string, more: object = {}) => ({
  body: { model: 'sim', input: 'and?', previous_response_id, ...more },
})

describe('an id of the caller’s own', () => {
  test('a call goes to the account that made the response, each time', async () => {
    await using world = await withResponse()
    for (let n = 0; n < 3; n++) expect((await send(world, follow(world.id))).status).toBe(200)
    expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a1', 'up-a1'])
    expect((await send(world)).status).toBe(200)
    expect(keys(world).at(-1)).toBe('up-a2')
    await world.quiet()
  })

  test('the tokens of the stored context are in the hold and on the bill', async () => {
    await using world = await openWorld()
    world.sim.script({}, { outputTokens: 5000 })
    const made = await send(world)
    world.sim.script({}, {})
    await send(world, { body: { model: 'sim', input: 'and?', max_output_tokens: 100 } })
    await send(world, follow(String(made.json.id), { max_output_tokens: 100 }))
    const [, alone, following] = await world.rows()
    const perToken = 2000n // nano-dollars of fresh input
    expect((following!.held as bigint) - (alone!.held as bigint)).toBeGreaterThan(5000n * perToken)
    expect((following!.input_tokens as bigint) - (alone!.input_tokens as bigint)).toBeGreaterThanOrEqual(5000n)
    expect(following!.cost).toBe(world.sim.invoice.at(-1)!.costNanos)
    await world.quiet()
  })

  test('when its account is full, the call waits for it, however free the others are', async () => {
    await using world = await withResponse()
    world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
    const busy = send(world, follow(world.id))
    await world.sim.gate('busy').reached()
    const waiting = send(world, follow(world.id))
    await inPoolLine(world, 1)
    world.sim.open('busy')
    expect([(await busy).status, (await waiting).status]).toEqual([200, 200])
    expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a1'])
    await world.quiet()
  })

  test('when its account stays full, the call is refused', async () => {
    await using world = await withResponse({ settings: { lineTimeoutMs: 200 } })
    world.sim.script({ key: 'up-a1' }, [{ hold: 'busy' }, {}])
    const busy = send(world, follow(world.id))
    await world.sim.gate('busy').reached()
    expect(refusalOf(await send(world, follow(world.id)))).toMatchObject({
      status: 429,
      type: 'rate_limit_error',
      message: 'Concurrency limit exceeded for account, please retry later',
      retry: 'later',
    })
    world.sim.open('busy')
    expect((await busy).status).toBe(200)
    await world.quiet()
  })

  test('a failure of its account is nobody else’s business', async () => {
    await using world = await withResponse()
    world.sim.script({ key: 'up-a1' }, { status: 500 })
    expect((await send(world, follow(world.id))).status).toBe(502)
    expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a1']) // The response, the attempt, and the one that is made again.
    await world.quiet()
  })

  const gone: readonly (readonly [string, (world: World) => Promise<unknown>, RegExp, boolean])[] = [
    ['rests', world => rest(world, 30_000), /^No available accounts: resting until \S+Z$/, true],
    ['rests for long', world => rest(world, 3_600_000), /^No available accounts: resting until \S+Z$/, false],
    ['is disabled', world => world.changeAccount(world.accounts[0]!, { disabled: true }), /^No available accounts: disabled$/, false],
    [
      'left the group',
      world => world.changeAccount(world.accounts[0]!, { groupIds: [] }),
      /^No available accounts: the account that holds what this call refers to no longer serves this key$/,
      false,
    ],
  ]

  test.for(gone)('when its account %s, the call fails and says so', async ([, happens, message, comesBack]) => {
    await using world = await withResponse()
    await happens(world)
    const answer = await send(world, follow(world.id))
    expect(answer.status).toBe(503)
    expect(answer.error).toEqual({ type: 'api_error', message: expect.stringMatching(message), code: null, param: null })
    expect(answer.headers['retry-after'] !== undefined).toBe(comesBack)
    expect(keys(world)).toEqual(['up-a1'])
    await world.quiet()
  })

  test('a streamed response has an owner too, and one whose client left', async () => {
    await using world = await openWorld({ accounts: [{}, {}] })
    await using stream = openStream(world)
    const { response } = await stream.until('response.completed')
    await world.quiet()
    world.sim.script({}, { hold: { gate: 'middle', at: 5 } })
    await using left = openStream(world)
    const begun = await left.until('response.created')
    left.leave()
    world.sim.open('middle')
    await until(() => world.headgate.serving.calls.count === 0, 'nobody notices that the client left')
    await world.quiet()
    world.sim.script({}, {})
    expect((await send(world, follow(String(response.id)))).status).toBe(200)
    expect((await send(world, follow(String(begun.response.id)))).status).toBe(200)
    expect(keys(world)).toEqual(['up-a1', 'up-a2', 'up-a1', 'up-a2'])
    await world.quiet()
  })

  test('a conversation is bound like a response', async () => {
    await using world = await openWorld({ accounts: [{}, {}] })
    world.sim.script({}, { conversation: 'conv_1' })
    expect((await send(world)).status).toBe(200)
    for (const conversation of ['conv_1', { id: 'conv_1' }]) {
      expect((await send(world, { body: { model: 'sim', input: 'and?', conversation } })).status).toBe(200)
    }
    expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a1'])
    await world.quiet()
  })

  test('an item that is referred to binds as well', async () => {
    await using world = await withResponse()
    const [item] = world.made.json.output as { id: string }[]
    const input = [{ type: 'item_reference', id: item!.id }]
    expect((await send(world, { body: { model: 'sim', input } })).status).toBe(200)
    expect(keys(world)).toEqual(['up-a1', 'up-a1'])
    await world.quiet()
  })

  test('ids of two accounts cannot be used together', async () => {
    await using world = await openWorld({ accounts: [{}, {}] })
    const first = await send(world)
    const second = await send(world)
    const [item] = second.json.output as { id: string }[]
    const answer = await send(world, follow(String(first.json.id), { input: [{ type: 'item_reference', id: item!.id }] }))
    expect(refusalOf(answer)).toMatchObject({ status: 400, type: 'invalid_request_error', retry: 'never' })
    expect(keys(world)).toEqual(['up-a1', 'up-a2'])
    await world.quiet()
  })
})

describe('an id that is not the caller’s', () => {
  /** What refers to an id, and what is said of one that is unknown. */
  const kinds: readonly (readonly [string, (id: string) => object, object])[] = [
    [
      'response',
      id => ({ previous_response_id: id }),
      {
        status: 400,
        code: 'previous_response_not_found',
        param: 'previous_response_id',
        message: "Previous response with id '{id}' not found.",
      },
    ],
    [
      'conversation',
      id => ({ conversation: id }),
      { status: 404, code: null, param: 'conversation', message: "Conversation with id '{id}' not found." },
    ],
  ]

  test.for(kinds)('a foreign %s is answered as an unknown one', async ([kind, refer, wanted]) => {
    await using world = await openWorld()
    world.sim.script({}, { conversation: 'conv_1' })
    const made = await send(world)
    const foreign = kind === 'response' ? String(made.json.id) : 'conv_1'
    const unknown = foreign.replace(/.$/, '~')
    const stranger = { url: world.url, key: (await world.addKey(await world.addUser())).secret }
    const ask = (id: string) => send(stranger, { body: { model: 'sim', input: 'and?', ...refer(id) } })
    const [one, other] = [await ask(foreign), await ask(unknown)]
    expect({ status: one.status, ...one.error }).toEqual({
      type: 'invalid_request_error',
      ...wanted,
      message: (wanted as { message: string }).message.replace('{id}', foreign),
    })
    expect([other.status, other.body]).toEqual([one.status, one.body.replace(foreign, unknown)])
    const told = ({ headers: { 'x-request-id': _, date: __, ...headers } }: Answer) => headers
    expect(told(other)).toEqual({ ...told(one), 'content-length': String(Buffer.byteLength(other.body)) })
    expect(world.sim.attempts.length).toBe(1)
    await world.quiet()
  })

  test('a response that was not stored is unknown', async () => {
    await using world = await openWorld()
    const made = await send(world, { body: { model: 'sim', input: 'hello', store: false } })
    expect((await send(world, follow(String(made.json.id)))).error).toMatchObject({ code: 'previous_response_not_found' })
    expect(world.sim.attempts.length).toBe(1)
    await world.quiet()
  })

  test('a foreign item is refused by us; one that nobody owns goes upstream, whose answer is relayed', async () => {
    await using world = await openWorld()
    const made = await send(world)
    const [item] = made.json.output as { id: string }[]
    const stranger = { url: world.url, key: (await world.addKey(await world.addUser())).secret }
    const refer = (id: string) => ({ body: { model: 'sim', input: [{ type: 'item_reference', id }] } })
    expect(refusalOf(await send(stranger, refer(item!.id)))).toMatchObject({ status: 400, param: 'input', retry: 'never' })
    expect(world.sim.attempts.length).toBe(1)

    world.sim.script({}, { status: 400, error: { message: 'Item with id ‘rs_0’ not found.', param: 'input' } })
    const relayed = await send(stranger, refer('rs_0'))
    expect([relayed.status, relayed.error.message]).toEqual([400, 'Item with id ‘rs_0’ not found.'])
    expect(world.sim.attempts.length).toBe(2)
    await world.quiet()
  })

  test('an image that is named without being sent is its owner’s, at the account that made it', async () => {
    await using world = await openWorld({ accounts: [{}, {}] })
    world.sim.script({}, { hugeEventBytes: 10 })
    const made = await send(world)
    const image = (made.json.output as { id: string; type: string }[]).find(({ type }) => type === 'image_generation_call')!
    const stranger = { url: world.url, key: (await world.addKey(await world.addUser())).secret }
    const edit = (fields: object) => ({ body: { model: 'sim', input: [{ type: image.type, id: image.id, ...fields }] } })
    for (const result of [undefined, null, ' ']) {
      expect(refusalOf(await send(stranger, edit({ result })))).toMatchObject({ status: 400, param: 'input', retry: 'never' })
    }
    expect(keys(world)).toEqual(['up-a1'])
    for (let i = 0; i < 3; i += 1) await send(world, edit({}))
    expect((await send(stranger, edit({ result: 'AAAA' }))).status).toBe(200)
    expect(keys(world).slice(0, 4)).toEqual(['up-a1', 'up-a1', 'up-a1', 'up-a1'])
    await world.quiet()
  })

  test('a container in which a tool ran is its owner’s, at the account that has it, though nothing was stored', async () => {
    await using world = await openWorld({ accounts: [{}, {}] })
    const usage = { input_tokens: 3, output_tokens: 4, total_tokens: 7 }
    const output = [
      { id: 'ci_1', type: 'code_interpreter_call', container_id: 'cntr_1', status: 'completed' },
      { id: 'sh_1', type: 'shell_call', environment: { type: 'container_reference', container_id: 'cntr_2' }, status: 'completed' },
    ]
    world.sim.script({}, { rawBody: JSON.stringify({ id: 'resp_1', status: 'completed', model: 'sim', output, usage }) })
    await send(world, { body: { model: 'sim', input: 'count', store: false } })
    const stranger = { url: world.url, key: (await world.addKey(await world.addUser())).secret }
    const tools = [
      { type: 'code_interpreter', container: 'cntr_1' },
      { type: 'shell', environment: { type: 'container_reference', container_id: 'cntr_2' } },
    ]
    for (const [i, tool] of tools.entries()) {
      const body = { model: 'sim', input: 'and on', tools: [tool] }
      expect(refusalOf(await send(stranger, { body }))).toMatchObject({
        status: 404,
        message: `Container with id 'cntr_${i + 1}' not found.`,
      })
      expect((await send(world, { body })).status).toBe(200)
    }
    expect(keys(world)).toEqual(['up-a1', 'up-a1', 'up-a1'])
    expect(
      (await send(stranger, { body: { model: 'sim', input: 'x', tools: [{ type: 'code_interpreter', container: 'cntr_0' }] } })).status,
    ).toBe(200)
    await world.quiet()
  })

  test('an item that is sent whole is never looked at', async () => {
    await using world = await openWorld({ accounts: [{}, {}] })
    const made = await send(world)
    const [item] = made.json.output as { id: string }[]
    const stranger = { url: world.url, key: (await world.addKey(await world.addUser())).secret }
    expect((await send(stranger, { body: { model: 'sim', input: [item, { role: 'user', content: 'and?' }] } })).status).toBe(200)
    expect(keys(world)).toEqual(['up-a1', 'up-a2'])
    await world.quiet()
  })
})

async function rest({ headgate, accounts }: World, ms: number): Promise<void> {
  await headgate.gateway.coordinator.change(accounts[0]!.id, condition => ({ ...condition, restingUntilMs: Date.now() + ms }))
}
