import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import OpenAI from 'openai'
import { expect, test } from 'vitest'
import { errorEvent, failedEvent } from './openai-events.ts'
import { comment, dataOf, sseReader } from './sse.ts'

const failure = {
  sequence: 8,
  base: undefined,
  id: 'resp_hg_1',
  model: 'alias',
  code: 'server_error',
  message: 'line\n\ndata: {"x"',
  createdAtMs: 1_700_000_000_999,
}

/** What a reader makes of one event that we wrote: it must be one, whole. */
function written(raw: Buffer): { type: string; data: Record<string, unknown> } {
  const told: { type: string; data: Record<string, unknown> }[] = []
  const reader = sseReader()
  reader.push(raw, (bytes, type) => void told.push({ type, data: JSON.parse(dataOf(bytes)) }))
  expect(reader.end().length).toBe(0)
  expect(told.length).toBe(1)
  expect(told[0]!.data.type).toBe(told[0]!.type)
  return told[0]!
}

test('a failure without a base is a whole response', () => {
  const { type, data } = written(failedEvent(failure))
  expect(type).toBe('response.failed')
  expect(data).toMatchObject({
    sequence_number: 8,
    response: {
      id: 'resp_hg_1',
      object: 'response',
      created_at: 1_700_000_000,
      status: 'failed',
      model: 'alias',
      error: { code: 'server_error', message: 'line\n\ndata: {"x"' },
      output: [],
      usage: null,
    },
  })
})

test('a failure with a base is that response, failed', () => {
  const base = JSON.stringify({
    type: 'response.created',
    sequence_number: 0,
    response: { id: 'resp_9', created_at: 5, status: 'in_progress', model: 'upstream', tools: [{ type: 'x' }], new_field: 1 },
  })
  expect(written(failedEvent({ ...failure, base })).data.response).toEqual({
    id: 'resp_9',
    created_at: 5,
    completed_at: null,
    status: 'failed',
    model: 'alias',
    tools: [{ type: 'x' }],
    new_field: 1,
    error: { code: 'server_error', message: failure.message },
    incomplete_details: null,
  })
})

test.each(['', '{', 'null', '{"response":null}', '[DONE]'])('a base of %j is as good as none', base => {
  expect(failedEvent({ ...failure, base })).toEqual(failedEvent(failure))
})

test('an error event is flat and nested', () => {
  const raw = errorEvent({ sequence: 0, code: 'insufficient_quota', message: 'm"', param: 'input', type: 'rate_limit_error' })
  expect(written(raw)).toEqual({
    type: 'error',
    data: {
      type: 'error',
      sequence_number: 0,
      code: 'insufficient_quota',
      message: 'm"',
      param: 'input',
      error: { type: 'rate_limit_error', message: 'm"' },
    },
  })
})

interface Heard {
  readonly types: string[]
  readonly error?: unknown
  readonly final?: unknown
}

/** Has the real client read a stream of these bytes. */
async function readByClient(read: (client: OpenAI, types: string[]) => Promise<unknown>, parts: readonly Buffer[]): Promise<Heard> {
  const server = createServer((_, answer) => answer.writeHead(200, { 'content-type': 'text/event-stream' }).end(Buffer.concat(parts)))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const types: string[] = []
  try {
    return { types, final: await read(new OpenAI({ apiKey: 'k', baseURL: `http://127.0.0.1:${port}/v1`, maxRetries: 0 }), types) }
  } catch (error) {
    return { types, error }
  } finally {
    server.close()
  }
}

async function asEvents(client: OpenAI, types: string[]): Promise<void> {
  for await (const { type } of await client.responses.create({ model: 'alias', input: 'x', stream: true })) types.push(type)
}

async function asResponse(client: OpenAI, types: string[]): Promise<unknown> {
  const stream = client.responses.stream({ model: 'alias', input: 'x' })
  for await (const { type } of stream) types.push(type)
  return stream.finalResponse()
}

const base = {
  type: 'response.created',
  sequence_number: 0,
  response: { id: 'resp_1', object: 'response', created_at: 5, status: 'in_progress', model: 'alias', output: [], usage: null },
}

test('the OpenAI client makes a failed response of a failure that ends what had begun', async () => {
  const heard = await readByClient(asResponse, [
    comment,
    Buffer.from(`event: response.created\ndata: ${JSON.stringify(base)}\n\n`),
    comment,
    failedEvent({ ...failure, sequence: 1, base: JSON.stringify(base) }),
  ])
  expect(heard).toEqual({
    types: ['response.created', 'response.failed'],
    final: expect.objectContaining({ id: 'resp_1', status: 'failed', error: { code: 'server_error', message: failure.message } }),
  })
})

test('the OpenAI client hears a failure that comes after nothing but comments', async () => {
  expect(await readByClient(asEvents, [comment, comment, failedEvent({ ...failure, sequence: 0 })])).toEqual({ types: ['response.failed'] })
})

test('the OpenAI client throws on an error event, with our message', async () => {
  const parts = [
    errorEvent({ sequence: 0, code: 'rate_limit_exceeded', message: 'Too many', param: null, type: 'rate_limit_error' }),
    failedEvent(failure),
  ]
  const heard = await readByClient(asEvents, [comment, ...parts])
  expect(String(heard.error)).toContain('Too many')
})
