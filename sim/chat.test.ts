import OpenAI from 'openai'
import OpenAI6 from 'openai6'
import { describe, expect, test } from 'vitest'
import type { InvoiceLine } from './invoice.ts'
import { ask } from './listen.ts'
import type { Script } from './script.ts'
import { openSim, type Sim } from './sim.ts'

const clients = [
  ['openai 7', OpenAI],
  ['openai 6', OpenAI6 as unknown as typeof OpenAI],
] as const

const clientOf = (sim: Sim, Client: typeof OpenAI = OpenAI) => new Client({ apiKey: 'sk-1', baseURL: `${sim.url}/v1`, maxRetries: 0 })
const messages = [{ role: 'user' as const, content: 'hello' }]
const chat = (sim: Sim, fields: object = {}) => ask(sim, { path: '/v1/chat/completions', body: { model: 'm', messages, ...fields } })
const chunksIn = (text: string): Record<string, unknown>[] =>
  text
    .split('\n\n')
    .filter(block => block.startsWith('data: {'))
    .map(block => JSON.parse(block.slice(6)))

describe.each(clients)('with %s', (_, Client) => {
  test('a completion comes whole, with its usage in detail', async () => {
    await using sim = await openSim()
    sim.script({}, { text: 'Hello there', reasoning: 4, cachedTokens: 1, serviceTier: 'flex', model: 'm-2026' })
    const completion = await clientOf(sim, Client).chat.completions.create({ model: 'm', messages })

    expect(completion).toMatchObject({
      object: 'chat.completion',
      model: 'm-2026',
      service_tier: 'flex',
      choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'Hello there' } }],
      usage: {
        prompt_tokens: 2,
        completion_tokens: 7,
        total_tokens: 9,
        prompt_tokens_details: { cached_tokens: 1 },
        completion_tokens_details: { reasoning_tokens: 4 },
      },
    })
    expect(sim.invoice).toMatchObject([
      {
        of: 'chat',
        stream: false,
        responseId: completion.id,
        modelServed: 'm-2026',
        tier: 'flex',
        ended: 'completed',
        usageReported: true,
      },
    ])
  })

  test('a stream is accumulated to the same completion, a call of a tool included', async () => {
    await using sim = await openSim()
    sim.script({}, { text: 'Let me look', toolCall: { name: 'look', arguments: '{"at":1}' } })
    const runner = clientOf(sim, Client).chat.completions.stream({ model: 'm', messages, stream_options: { include_usage: true } })
    const completion = await runner.finalChatCompletion()

    expect(completion).toMatchObject({
      choices: [
        {
          finish_reason: 'tool_calls',
          message: { content: 'Let me look', tool_calls: [{ type: 'function', function: { name: 'look', arguments: '{"at":1}' } }] },
        },
      ],
      usage: { prompt_tokens: 2, completion_tokens: 5, total_tokens: 7 },
    })
    const whole = await clientOf(sim, Client).chat.completions.create({ model: 'm', messages })
    expect(whole.choices[0]!.message).toMatchObject({ content: 'Let me look', tool_calls: [{ function: { arguments: '{"at":1}' } }] })
  })

  test('an error in the stream is thrown', async () => {
    await using sim = await openSim()
    sim.script({}, { end: 'error', afterEvents: 3 })
    const stream = await clientOf(sim, Client).chat.completions.create({ model: 'm', messages, stream: true })
    const seen: unknown[] = []
    const reading = (async () => {
      for await (const chunk of stream) seen.push(chunk)
    })()

    await expect(reading).rejects.toMatchObject({ error: { code: 'server_error', type: 'server_error' } })
    expect(seen.length).toBe(3)
  })

  test('texts and tokens are embedded, each always alike', async () => {
    await using sim = await openSim({ prices: { e: { input: '0.001', output: '0' } } })
    const { embeddings } = clientOf(sim, Client)
    const made = await embeddings.create({ model: 'e', input: ['water', 'more water', 'water'], dimensions: 8 })
    const plain = await embeddings.create({ model: 'e', input: 'water', encoding_format: 'float' })
    const tokens = await embeddings.create({ model: 'e', input: [[1, 2, 3], [4]], dimensions: 8 })
    const [one, two, three] = made.data.map(each => Array.from(each.embedding))

    expect([one!.length, plain.data[0]!.embedding.length]).toEqual([8, 1536])
    expect(one).toEqual(three)
    expect(one).not.toEqual(two)
    expect(Math.hypot(...one!)).toBeCloseTo(1)
    expect([made, plain, tokens].map(each => each.usage)).toEqual([7, 2, 4].map(n => ({ prompt_tokens: n, total_tokens: n })))
    expect(sim.invoice.map(line => [line.of, line.costNanos, line.usage.outputTokens])).toEqual([
      ['embeddings', 7n, 0],
      ['embeddings', 2n, 0],
      ['embeddings', 4n, 0],
    ])
  })

  test('a model is told, and an unknown one is not found', async () => {
    await using sim = await openSim({ models: ['ft:a/b'] })
    const { models } = clientOf(sim, Client)
    expect(await models.retrieve('ft:a/b')).toMatchObject({ id: 'ft:a/b', object: 'model' })
    await expect(models.retrieve('none')).rejects.toMatchObject({ status: 404, code: 'model_not_found' })
  })
})

test('usage stands in a chunk of its own when it is asked for, and nowhere otherwise', async () => {
  await using sim = await openSim()
  const plain = await chat(sim, { stream: true }).heard
  const asked = await chat(sim, { stream: true, stream_options: { include_usage: true } }).heard

  expect(plain.text.endsWith('data: [DONE]\n\n')).toBe(true)
  expect(chunksIn(plain.text).some(chunk => 'usage' in chunk)).toBe(false)
  expect(chunksIn(asked.text).at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 2 } })
  expect(
    chunksIn(asked.text)
      .slice(0, -1)
      .every(chunk => chunk.usage === null),
  ).toBe(true)
  expect(sim.invoice.map(line => [line.usageReported, line.usage])).toEqual([
    [false, sim.invoice[1]!.usage],
    [true, sim.invoice[1]!.usage],
  ])
})

test.each(['max_tokens', 'max_completion_tokens'])('%s ends a completion early', async field => {
  await using sim = await openSim()
  sim.script({}, { text: 'one two three four' })
  const whole = JSON.parse((await chat(sim, { [field]: 4 }).heard).text)
  const streamed = chunksIn((await chat(sim, { [field]: 4, stream: true }).heard).text)

  expect(whole).toMatchObject({
    choices: [{ finish_reason: 'length', message: { content: 'one two three fo' } }],
    usage: { completion_tokens: 4 },
  })
  expect(streamed.at(-1)).toMatchObject({ choices: [{ finish_reason: 'length' }] })
  expect(sim.invoice.map(line => [line.ended, line.usage.outputTokens])).toEqual([
    ['incomplete', 4],
    ['incomplete', 4],
  ])
})

/** 'hello' in: 2 tokens; 'one two three four' in two pieces out: 5 tokens, 3 after the second chunk. Input costs 1, output 10 a token. */
const bills: { script: Script; stream: boolean; chunks: number; line: Partial<InvoiceLine> }[] = [
  { script: {}, stream: true, chunks: 4, line: { ended: 'completed', costNanos: 52n, cut: false } },
  { script: { end: 'cut', afterEvents: 0 }, stream: true, chunks: 0, line: { ended: 'cut', costNanos: 0n, cut: true } },
  { script: { end: 'cut', noHeaders: true }, stream: true, chunks: 0, line: { ended: 'cut', status: 0, costNanos: 0n } },
  { script: { end: 'cut', afterEvents: 1 }, stream: true, chunks: 1, line: { ended: 'cut', costNanos: 2n } },
  { script: { end: 'cut', afterEvents: 2 }, stream: true, chunks: 2, line: { ended: 'cut', costNanos: 32n, cut: true } },
  { script: { end: 'eof' }, stream: true, chunks: 4, line: { ended: 'eof', costNanos: 52n, cut: true, usageReported: false } },
  { script: { end: 'error', afterEvents: 2 }, stream: true, chunks: 3, line: { ended: 'error', costNanos: 32n } },
  { script: { errorFirst: true }, stream: true, chunks: 1, line: { ended: 'error', costNanos: 0n } },
  { script: { end: 'incomplete', afterEvents: 2 }, stream: true, chunks: 3, line: { ended: 'incomplete', costNanos: 32n, cut: false } },
  { script: { status: 429 }, stream: true, chunks: 0, line: { ended: 'refused', status: 429, costNanos: 0n } },
  { script: {}, stream: false, chunks: 0, line: { ended: 'completed', costNanos: 52n, usageReported: true } },
  { script: { usage: null }, stream: false, chunks: 0, line: { costNanos: 52n, usageReported: false } },
  { script: { usage: { output_tokens: 100 } }, stream: false, chunks: 0, line: { costNanos: 1002n } },
  { script: { end: 'cut', afterBytes: 10 }, stream: false, chunks: 0, line: { ended: 'cut', costNanos: 52n, cut: true } },
  { script: { end: 'failed' }, stream: false, chunks: 0, line: { ended: 'refused', status: 500, costNanos: 0n } },
]

test.each(bills)('the script $script, stream $stream, is billed $line', async ({ script, stream, chunks, line }) => {
  await using sim = await openSim({ prices: { m: { input: '0.001', output: '0.01' } } })
  sim.script({}, { text: 'one two three four', deltas: 2, ...script })
  const { text } = await chat(sim, { stream }).heard
  await sim.idle()

  if (stream) expect(chunksIn(text).length).toBe(chunks)
  expect(text.includes('[DONE]')).toBe(stream && line.cut === false)
  expect(sim.invoice).toMatchObject([{ of: 'chat', stream, clientLeft: false, ...line }])
})

test('a client that leaves a chat is charged what it was shown', async () => {
  await using sim = await openSim({ prices: { m: { input: '0.001', output: '0.01' } } })
  sim.script({}, { text: 'one two three four', deltas: 2, hold: { gate: 'weir', at: 2 } })
  const listening = chat(sim, { stream: true })
  await sim.gate('weir').reached()
  await listening.until('"content":"one')
  listening.leave()
  await sim.gone(1)
  await sim.idle()

  expect(sim.invoice).toMatchObject([{ ended: 'left', cut: true, clientLeft: true, costNanos: 32n }])
})

test.each([
  ['/v1/chat/completions', { model: 'm' }, "Missing required parameter: 'messages'."],
  ['/v1/chat/completions', { messages }, "Missing required parameter: 'model'."],
  ['/v1/embeddings', { model: 'e' }, "'$.input' is invalid."],
  ['/v1/embeddings', { model: 'e', input: [''] }, "'$.input' is invalid."],
  ['/v1/embeddings', { input: 'x' }, "Missing required parameter: 'model'."],
])('%s with %j is refused', async (path, body, sentence) => {
  await using sim = await openSim()
  const { status, text } = await ask(sim, { path, body }).heard

  expect([status, JSON.parse(text).error.message]).toEqual([400, expect.stringContaining(sentence)])
  expect(sim.invoice).toMatchObject([{ ended: 'refused', costNanos: 0n }])
})

test('the tokens of messages are those of their texts, their calls and the tools', async () => {
  await using sim = await openSim({ countTokens: text => text.split(' ').length })
  const tools = [{ type: 'function', function: { name: 'f', description: 'a b' } }]
  const said = [
    { role: 'system', content: 'be brief' },
    { role: 'user', content: [{ type: 'text', text: 'a b c' }] },
    { role: 'assistant', content: null, tool_calls: [{ id: 'x y z', type: 'function', function: { name: 'f', arguments: '{ }' } }] },
    { role: 'tool', tool_call_id: 'x y z', content: 'd e f g' },
  ]
  const { usage } = JSON.parse((await chat(sim, { messages: said, tools }).heard).text)

  expect(usage.prompt_tokens).toBe(2 + 3 + 2 + 4 + 2)
})
