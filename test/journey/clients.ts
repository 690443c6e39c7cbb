import OpenAI, { APIError } from 'openai'
import { expect } from 'vitest'
import { defaultError } from '../../sim/errors.ts'
import type { Json, Target } from '../client.ts'
import { openStream, type StreamEvent, send } from '../client.ts'
import type { Row, Sees, Who } from './row.ts'

/** What a client has in hands when its call is over, whichever client it was. */
export interface Seen {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  /** The refusal's `error`; empty when there was none. */
  readonly error: Json
  /** The body, where the client shows it. */
  readonly body: string | undefined
  /** Of a stream, without comments and `[DONE]`. */
  readonly events: readonly Pick<StreamEvent, 'type' | 'name' | 'data' | 'response'>[]
  /** The response: the JSON body, or that of the last event. */
  readonly response: Json
}

export async function call(target: Target, who: Who, row: Row): Promise<Seen> {
  const body = { model: 'sim', input: 'Who may open the gate?', ...row.ask }
  if (who === 'json') return json(target, body)
  if (who === 'stream') return stream(target, body)
  return sdk(target, body, who === 'sdk stream')
}

async function json(target: Target, body: object): Promise<Seen> {
  const { status, headers, body: text, error, json: response, ending } = await send(target, { body })
  expect(ending).toBe('whole')
  return { status, headers, error, body: text, events: [], response: status === 200 ? response : {} }
}

async function stream(target: Target, body: object): Promise<Seen> {
  await using open = openStream(target, { body })
  const { status, headers } = await open.begun
  const all = await open.rest()
  if (headers['content-type'] !== 'text/event-stream') {
    return { status, headers, error: errorIn(open.text), body: open.text, events: [], response: {} }
  }
  const events = all.filter(({ type }) => type !== 'comment' && type !== 'done')
  return { status, headers, error: {}, body: undefined, events, response: events.at(-1)?.response ?? {} }
}

async function sdk({ url, key }: Target, body: { model: string; input: string }, streams: boolean): Promise<Seen> {
  const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 })
  const nothing = { error: {}, body: undefined, events: [], response: {} }
  try {
    if (!streams) {
      const { data, response } = await client.responses.create(body).withResponse()
      return { ...nothing, status: response.status, headers: Object.fromEntries(response.headers), response: asJson(data) }
    }
    const { data, response } = await client.responses.create({ ...body, stream: true }).withResponse()
    const events: Seen['events'][number][] = []
    for await (const event of data) {
      const read = asJson(event)
      events.push({ type: event.type, name: event.type, data: read, response: asJson(read.response) })
    }
    const headers = Object.fromEntries(response.headers)
    return { ...nothing, status: response.status, headers, events, response: events.at(-1)?.response ?? {} }
  } catch (error) {
    if (!(error instanceof APIError) || error.status === undefined) throw error
    return { ...nothing, status: error.status, headers: Object.fromEntries(error.headers ?? []), error: asJson(error.error) }
  }
}

function errorIn(body: string): Json {
  try {
    return asJson(asJson(JSON.parse(body)).error)
  } catch {
    return {} // Not everything that an upstream says is JSON.
  }
}

export function asJson(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {}
}

const modelAsked = 'sim'

/** The client saw what the row says. */
export function expectSeen(seen: Seen, row: Row, who: Who): void {
  const { sees } = row
  expect(seen.headers['x-request-id']).toMatch(/^[0-9a-f-]{36}$/)
  const leaking = Object.keys(seen.headers).filter(name => /^x-ratelimit|organization|set-cookie/.test(name))
  expect(leaking).toEqual([])
  if (sees.kind === 'refusal') expectRefusal(seen, sees)
  if (sees.kind === 'verbatim') expectVerbatim(seen, sees.status, row)
  if (sees.kind === 'answer') expectAnswer(seen, sees, who)
  if (sees.kind === 'cut') expectCut(seen, sees.code)
}

function expectRefusal({ status, headers, error }: Seen, sees: Extract<Sees, { kind: 'refusal' }>): void {
  const message = typeof sees.message === 'string' ? sees.message : expect.stringMatching(sees.message)
  expect({ status, ...error }).toEqual({ status: sees.status, type: sees.type, message, code: null, param: null })
  if (sees.retryAfter === undefined) return expect(headers['retry-after']).toBeUndefined()
  const seconds = Number(headers['retry-after'])
  // The rest began a little before the answer was written.
  expect(seconds).toBeLessThanOrEqual(sees.retryAfter)
  expect(seconds).toBeGreaterThanOrEqual(sees.retryAfter - 2)
}

function expectVerbatim({ status, headers, error, body }: Seen, wanted: number, { a1 = {} }: Row): void {
  const script = 'length' in a1 ? a1[0]! : a1
  const said = script.rawBody ?? JSON.stringify({ error: { ...defaultError(wanted, modelAsked), ...script.error } })
  expect(status).toBe(wanted)
  if (body === undefined) expect(error).toEqual(JSON.parse(said).error)
  else expect(body).toBe(said)
  expect(headers['x-upstream-request-id']).toMatch(/^req_/)
}

function expectAnswer(seen: Seen, sees: Extract<Sees, { kind: 'answer' }>, who: Who): void {
  const { status, headers, response, events } = seen
  expect(status).toBe(200)
  expect(response).toMatchObject({ object: 'response', status: sees.final, model: sees.model ?? modelAsked })
  if (sees.error !== undefined) expect(response.error).toMatchObject(sees.error)
  expect(headers['x-upstream-request-id']).toMatch(/^req_/)
  expect(headers['openai-version']).toBe('2020-10-01')
  // There is no event of that name.
  const terminal = sees.final === 'cancelled' ? 'incomplete' : sees.final
  if (who.endsWith('stream')) expectStream(seen, `response.${terminal}`)
  else expect(events).toEqual([])
}

function expectCut(seen: Seen, code: string): void {
  expect(seen.status).toBe(200)
  expect(seen.response).toMatchObject({ status: 'failed', error: { code, message: expect.any(String) } })
  expectStream(seen, 'response.failed')
}

/** Every event is named by its type and has the next number, and the last one is this. */
function expectStream({ headers, events }: Seen, end: string): void {
  expect(headers).toMatchObject({ 'content-type': 'text/event-stream', 'cache-control': 'no-cache', 'x-accel-buffering': 'no' })
  expect(events.map(({ data }) => data.sequence_number)).toEqual(events.map((_, n) => n))
  expect(events.map(({ name }) => name)).toEqual(events.map(({ type }) => type))
  expect(events.at(-1)?.type).toBe(end)
}
