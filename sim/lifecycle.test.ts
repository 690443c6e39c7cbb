import OpenAI from 'openai'
import OpenAI6 from 'openai6'
import { describe, expect, test } from 'vitest'
import { ask, askStream, eventsIn, lastResponse } from './listen.ts'
import { openSim, type Sim } from './sim.ts'

const clients = [
  ['openai 7', OpenAI],
  ['openai 6', OpenAI6 as unknown as typeof OpenAI],
] as const

const clientOf = (sim: Sim, Client: typeof OpenAI = OpenAI, apiKey = 'sk-1') =>
  new Client({ apiKey, baseURL: `${sim.url}/v1`, maxRetries: 0 })

const get = (sim: Sim, path: string, key?: string) => ask(sim, { path, method: 'GET', ...(key !== undefined && { key }) }).heard
const errorIn = (text: string) => JSON.parse(text).error

describe.each(clients)('with %s', (_, Client) => {
  test('a stored response is retrieved as it was answered, and deleted once', async () => {
    await using sim = await openSim()
    const client = clientOf(sim, Client)
    const made = await client.responses.create({ model: 'm', input: 'hello' })
    expect(await client.responses.retrieve(made.id)).toEqual(made)
    await client.responses.delete(made.id)

    await expect(client.responses.retrieve(made.id)).rejects.toMatchObject({
      status: 404,
      error: { message: `Response with id '${made.id}' not found.`, type: 'invalid_request_error', param: null, code: null },
    })
    await expect(client.responses.delete(made.id)).rejects.toMatchObject({ status: 404 })
    expect(sim.invoice.length).toBe(1)
  })

  test('a response in the background is polled until it is done', async () => {
    await using sim = await openSim()
    sim.script(
      {},
      {
        text: 'at last',
        hold: [
          { gate: 'turn', at: 2 },
          { gate: 'work', at: 3 },
        ],
      },
    )
    const client = clientOf(sim, Client)
    const made = await client.responses.create({ model: 'm', input: 'hello', background: true })
    expect(made).toMatchObject({ status: 'queued', background: true, output: [] })
    await sim.gate('turn').reached()
    expect((await client.responses.retrieve(made.id)).status).toBe('queued')
    sim.open('turn')
    await sim.gate('work').reached()
    expect((await client.responses.retrieve(made.id)).status).toBe('in_progress')
    expect(sim.invoice[0]).toMatchObject({ ended: 'running', costNanos: 0n })
    sim.open('work')
    await sim.idle()

    const done = await client.responses.retrieve(made.id)
    expect(done).toMatchObject({ status: 'completed', output_text: 'at last', usage: { input_tokens: 2, output_tokens: 2 } })
    expect(sim.invoice.map(line => [line.responseId, line.ended, line.usage.outputTokens])).toEqual([[made.id, 'completed', 2]])
  })

  test('a response in the background is cancelled, and what it had used is owed', async () => {
    await using sim = await openSim({ prices: { m: { input: '0.001', output: '0.01' } } })
    sim.script({}, { text: 'one two three four', deltas: 2, hold: { gate: 'work', at: 6 } })
    const client = clientOf(sim, Client)
    const made = await client.responses.create({ model: 'm', input: 'hello', background: true })
    await sim.gate('work').reached()
    const cancelled = await client.responses.cancel(made.id)
    expect(cancelled).toMatchObject({ id: made.id, status: 'cancelled', usage: { input_tokens: 2, output_tokens: 3 } })

    expect(await client.responses.cancel(made.id)).toEqual(cancelled)
    expect(await client.responses.retrieve(made.id)).toMatchObject({ ...cancelled })
    expect(sim.invoice.map(line => [line.ended, line.costNanos, line.usageReported])).toEqual([['cancelled', 32n, true]])
  })

  test('the input items of a response come in pages, the newest first', async () => {
    await using sim = await openSim()
    const client = clientOf(sim, Client)
    const input = ['one', 'two', 'three'].map(content => ({ role: 'user' as const, content }))
    const { id } = await client.responses.create({ model: 'm', input })
    const textsOf = async (query: object) => {
      const found: unknown[] = []
      for await (const item of client.responses.inputItems.list(id, query)) found.push('content' in item && item.content)
      return found.map(content => (content as { text: string }[])[0]!.text)
    }

    expect(await textsOf({ limit: 2 })).toEqual(['three', 'two', 'one'])
    expect(await textsOf({ order: 'asc' })).toEqual(['one', 'two', 'three'])
    const first = await client.responses.inputItems.list(id, { limit: 1 })
    expect(first).toMatchObject({ has_more: true, data: [{ type: 'message', role: 'user' }] })
  })

  test('tokens are counted without a charge, what came before included', async () => {
    await using sim = await openSim()
    const client = clientOf(sim, Client)
    const { id, usage } = await client.responses.create({ model: 'm', input: 'hello' })
    const counted = await client.responses.inputTokens.count({ model: 'm', input: 'and then?', previous_response_id: id })

    expect(counted).toEqual({ object: 'response.input_tokens', input_tokens: usage!.total_tokens + 3 })
    expect(sim.invoice.length).toBe(1)
  })

  test('a compaction is billed, and its item is context for the next call of the same organisation', async () => {
    await using sim = await openSim({ prices: { m: { input: '1', output: '1' } }, organisations: { 'sk-1': 'a', 'sk-2': 'b' } })
    const client = clientOf(sim, Client)
    const input = [
      { role: 'user' as const, content: 'x'.repeat(400) },
      { role: 'assistant' as const, content: 'yes' },
    ]
    const compacted = await client.responses.compact({ model: 'gpt-5.4', input })
    expect(compacted).toMatchObject({ object: 'response.compaction', output: [{ role: 'user' }, { type: 'compaction' }] })
    expect(compacted.usage).toMatchObject({ input_tokens: 101, output_tokens: 11 })
    expect(sim.invoice[0]).toMatchObject({ of: 'compact', usage: { inputTokens: 101, outputTokens: 11 }, ended: 'completed' })

    const [, item] = compacted.output
    const next = await client.responses.create({ model: 'm', input: [item as OpenAI.Responses.ResponseInputItem] })
    expect(next.usage!.input_tokens).toBe(11)
    await expect(
      clientOf(sim, Client, 'sk-2').responses.create({ model: 'm', input: [item as OpenAI.Responses.ResponseInputItem] }),
    ).rejects.toMatchObject({ status: 400, code: 'invalid_encrypted_content' })
  })

  test('the stream of a response in the background is taken up again where it was left', async () => {
    await using sim = await openSim()
    sim.script({}, { text: 'one two three four', deltas: 4, hold: { gate: 'work', at: 7 } })
    const client = clientOf(sim, Client)
    const stream = await client.responses.create({ model: 'm', input: 'hello', background: true, stream: true })
    let id = ''
    for await (const event of stream) {
      if (event.type === 'response.created') id = event.response.id
      if (event.sequence_number === 4) break
    }
    await sim.gone(1)
    const rest = await client.responses.retrieve(id, { stream: true, starting_after: 4 })
    const seen: [number, string][] = []
    for await (const event of rest) {
      seen.push([event.sequence_number, event.type])
      if (event.sequence_number === 6) sim.open('work')
    }

    expect(seen[0]).toEqual([5, 'response.output_text.delta'])
    expect(seen.map(([number]) => number)).toEqual(seen.map((_, n) => n + 5))
    expect(seen.at(-1)![1]).toBe('response.completed')
    expect(sim.invoice).toMatchObject([{ ended: 'completed', clientLeft: true, cut: false, stream: true }])
  })
})

test('a call that ends in a trigger is answered with one compaction item, which stands for what went before', async () => {
  await using sim = await openSim()
  const input = [{ role: 'user', content: 'x'.repeat(400) }, { type: 'compaction_trigger' }]
  const { text } = await askStream(sim, { ask: { input, store: false } }).heard
  const [item, ...others] = lastResponse(text).output as { type: string; encrypted_content: string }[]
  const next = JSON.parse((await ask(sim, { body: { model: 'm', input: [item, { role: 'user', content: 'go on' }] } }).heard).text)

  expect([item!.type, others]).toEqual(['compaction', []])
  expect(eventsIn(text).map(event => event.type)).toContain('response.compaction.compacting')
  expect(lastResponse(text).usage).toMatchObject({ input_tokens: 100, output_tokens: 10 })
  expect(next.usage.input_tokens).toBe(10 + 2)
})

test('a response belongs to the key that made it, and one that was not stored to nobody', async () => {
  await using sim = await openSim()
  const { id } = JSON.parse((await ask(sim).heard).text)
  const unstored = JSON.parse((await ask(sim, { body: { model: 'm', input: 'x', store: false } }).heard).text).id
  const paths = (of: string) => [`/v1/responses/${of}`, `/v1/responses/${of}/input_items`]
  const heard = await Promise.all([
    ...paths(id).map(path => get(sim, path, 'sk-2')),
    ...paths(unstored).map(path => get(sim, path)),
    ask(sim, { path: `/v1/responses/${id}`, method: 'DELETE', key: 'sk-2' }).heard,
    ask(sim, { path: `/v1/responses/${id}/cancel`, key: 'sk-2' }).heard,
  ])

  expect(heard.map(({ status }) => status)).toEqual([404, 404, 404, 404, 404, 404])
  expect(errorIn(heard[0]!.text).message).toBe(`Response with id '${id}' not found.`)
  expect((await get(sim, `/v1/responses/${id}`)).status).toBe(200)
  const chained = await ask(sim, { key: 'sk-2', body: { model: 'm', input: 'x', previous_response_id: id } }).heard
  expect([chained.status, errorIn(chained.text)]).toEqual([
    400,
    {
      message: `Previous response with id '${id}' not found.`,
      type: 'invalid_request_error',
      param: 'previous_response_id',
      code: 'previous_response_not_found',
    },
  ])
})

test('what was no background response is neither streamed again nor cancelled', async () => {
  await using sim = await openSim()
  const { id } = JSON.parse((await ask(sim).heard).text)
  const streamed = await get(sim, `/v1/responses/${id}?stream=true`)
  const cancelled = await ask(sim, { path: `/v1/responses/${id}/cancel` }).heard

  expect([streamed.status, errorIn(streamed.text).message]).toEqual([404, `Response with id '${id}' not found.`])
  expect([cancelled.status, errorIn(cancelled.text).message]).toEqual([400, 'Cannot cancel a synchronous response.'])
})

test('a response in the background is streamed with its time in the queue, and replayed whole when it is over', async () => {
  await using sim = await openSim()
  const live = await askStream(sim, { ask: { background: true, store: false } }).heard
  const [first] = eventsIn(live.text)
  const { id } = first!.fields.response as { id: string }
  const again = await get(sim, `/v1/responses/${id}?stream=true`)
  const late = await get(sim, `/v1/responses/${id}?stream=true&starting_after=1000`)
  const cancelled = await ask(sim, { path: `/v1/responses/${id}/cancel` }).heard

  expect(
    eventsIn(live.text)
      .map(event => event.type)
      .slice(0, 3),
  ).toEqual(['response.created', 'response.queued', 'response.in_progress'])
  expect(again.text).toBe(live.text)
  expect([late.status, late.text]).toEqual([200, ''])
  expect([cancelled.status, errorIn(cancelled.text).message]).toEqual([400, 'Cannot cancel a completed response.'])
  expect((await get(sim, `/v1/responses/${id}?stream=true&starting_after=x`)).status).toBe(400)
})

const faults = ['cut', 'reset', 'eof'] as const

test.each(faults)('a connection that ends by %s leaves a response in the background alone', async end => {
  await using sim = await openSim()
  sim.script({}, { end, afterEvents: 4 })
  const heard = await askStream(sim, { ask: { background: true } }).heard
  await sim.idle()

  if (end !== 'reset') expect(eventsIn(heard.text).length).toBe(4)
  expect(sim.invoice).toMatchObject([{ ended: 'completed', cut: false, clientLeft: false, status: 200 }])
})

const ends = [
  ['failed', 'failed'],
  ['error', 'failed'],
  ['incomplete', 'incomplete'],
  ['completed', 'completed'],
] as const

test.each(ends)('with the end %s a response in the background becomes %s', async (end, status) => {
  await using sim = await openSim()
  sim.script({}, { end })
  const { id } = JSON.parse((await ask(sim, { body: { model: 'm', input: 'x', background: true } }).heard).text)
  await sim.idle()

  expect(JSON.parse((await get(sim, `/v1/responses/${id}`)).text).status).toBe(status)
  expect(sim.invoice.map(line => line.ended)).toEqual([status])
})

test('cancelled in the queue, a response costs nothing', async () => {
  await using sim = await openSim()
  sim.script({}, { hold: { gate: 'turn', at: 2 } })
  const { id } = JSON.parse((await ask(sim, { body: { model: 'm', input: 'x', background: true } }).heard).text)
  const following = get(sim, `/v1/responses/${id}?stream=true`)
  await sim.gate('turn').reached()
  const { text } = await ask(sim, { path: `/v1/responses/${id}/cancel` }).heard

  expect(JSON.parse(text)).toMatchObject({ status: 'cancelled', usage: null })
  expect(eventsIn((await following).text).map(event => event.type)).toEqual(['response.created', 'response.queued'])
  expect(sim.invoice).toMatchObject([{ ended: 'cancelled', usage: { inputTokens: 0 } }])
})

test('a client that leaves while its connection lingers has not left early', async () => {
  await using sim = await openSim()
  sim.script({}, { linger: 600_000 })
  const listening = askStream(sim, { ask: { background: true } })
  await listening.until('response.completed')
  listening.leave()
  await sim.idle()

  expect(sim.invoice).toMatchObject([{ ended: 'completed', clientLeft: false }])
})

test('a deleted response in the background goes on, and stays away', async () => {
  await using sim = await openSim()
  sim.script({}, { hold: { gate: 'work', at: 3 } })
  const { id } = JSON.parse((await ask(sim, { body: { model: 'm', input: 'x', background: true } }).heard).text)
  await ask(sim, { path: `/v1/responses/${id}`, method: 'DELETE' }).heard
  sim.open('work')
  await sim.idle()

  expect((await get(sim, `/v1/responses/${id}`)).status).toBe(404)
  expect(sim.invoice).toMatchObject([{ ended: 'completed' }])
})

test('a script for a route meets its requests only, and uses up no other', async () => {
  await using sim = await openSim()
  sim.script({}, [{ text: 'first' }, { text: 'second' }])
  sim.script({ route: 'retrieve', key: 'sk-1' }, [{ status: 500 }, { end: 'cut' }, {}])
  const { id } = JSON.parse((await ask(sim).heard).text)
  const heard = []
  for (let n = 0; n < 3; n++) heard.push(await get(sim, `/v1/responses/${id}`))

  expect(heard.map(({ status, ending }) => [status, ending])).toEqual([
    [500, 'whole'],
    [200, 'broken'],
    [200, 'whole'],
  ])
  expect((await ask(sim).heard).text).toContain('second')
})

test('closing ends what is made in the background', async () => {
  const sim = await openSim()
  sim.script({}, { hold: { gate: 'work', at: 3 } })
  const listening = askStream(sim, { ask: { background: true } })
  await sim.gate('work').reached()
  await sim.close()

  expect((await listening.heard).ending).toBe('broken')
  await expect.poll(() => sim.invoice[0]!.ended).toBe('left')
})
