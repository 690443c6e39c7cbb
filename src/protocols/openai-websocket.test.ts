import { expect, test } from 'vitest'
import { envelopeOf, eventOf, messageOf, overSocket, readServerMessage, readSteer, refusalIn, responseIdIn } from './openai-websocket.ts'
import { sseReader } from './sse.ts'

/** What the reader of streams makes of a message that was put into one. */
function read(message: string): { raw: Buffer; type: string }[] {
  const events: { raw: Buffer; type: string }[] = []
  sseReader().push(eventOf(readServerMessage(Buffer.from(message))!), (raw, type) => events.push({ raw, type }))
  return events
}

test.each([
  ['as it stands', '{"type":"response.created","odd":12345678901234567890}', '{"type":"response.created","odd":12345678901234567890}'],
  ['in lines', '{\r\n "type":"a.b",\n\n "x":1}', '{   "type":"a.b",   "x":1}'],
  ['with a name that is no word', '{"type":"a\\n\\ndata: {}","x":"\\u2028"}', '{"type":"a\\n\\ndata: {}","x":"\\u2028"}'],
])('a message %s is one event, and comes out again', (_, message, expected) => {
  const events = read(message)
  expect(events).toHaveLength(1)
  expect(events[0]!.type).toBe(JSON.parse(message).type)
  expect(messageOf(events[0]!.raw, undefined).toString()).toBe(expected)
})

test('what we make up is told in its lane; what names its lane stays as it is', () => {
  const made = Buffer.from('event: x\ndata: {"type":"x"}\n\n')
  expect(messageOf(made, 'a').toString()).toBe('{"stream_id":"a","type":"x"}')
  expect(messageOf(Buffer.from('data: {}\n\n'), 'a').toString()).toBe('{"stream_id":"a"}')
  const [named] = read('{"type":"x","stream_id":"b"}')
  expect(messageOf(named!.raw, 'a').toString()).toBe('{"type":"x","stream_id":"b"}')
})

test.each<[string, unknown, unknown]>([
  ['{"type":"response.create","model":"m","stream_id":"a"}', 'response.create', 'a'],
  ['{"type":"response.create","model":"m"}', 'response.create', undefined],
  ['{"type":"response.steer","stream_id":7}', 'response.steer', 7],
  ['{"model":"m"}', undefined, undefined],
  ['[]', undefined, undefined],
  ['', undefined, undefined],
])('the envelope of %s', (text, type, streamId) => {
  const message = Buffer.from(text)
  expect(envelopeOf(message, overSocket.readCall(message))).toEqual({ type, streamId })
})

test('over a socket every call is a stream', () => {
  const reading = overSocket.readCall(Buffer.from('{"type":"response.create","model":"m","stream":false}'))
  expect(reading).toMatchObject({ facts: { stream: true, model: 'm' } })
})

test('an error is the HTTP answer that it would have been, its headers apart from its words', () => {
  const error = { type: 'rate_limit_error', code: null, message: 'Slow.', headers: { 'Retry-After': '7', odd: 1 } }
  const { status, headers, body } = refusalIn(Buffer.from(JSON.stringify({ type: 'error', status: 429, error })))
  expect([status, headers, JSON.parse(body.toString())]).toEqual([
    429,
    { 'retry-after': '7' },
    { error: { type: 'rate_limit_error', code: null, message: 'Slow.' } },
  ])
  expect(refusalIn(Buffer.from('{"type":"error","message":"Flat."}'))).toMatchObject({ status: 500 })
})

test('a message without a type is none, and a response is found by its id', () => {
  expect(readServerMessage(Buffer.from('{"stream_id":"a"}'))).toBeUndefined()
  expect(readServerMessage(Buffer.from('no json'))).toBeUndefined()
  expect(responseIdIn(Buffer.from('{"type":"response.created","response":{"object":"response","id":"resp_1"}}'))).toBe('resp_1')
  expect(responseIdIn(Buffer.from('{"type":"x","id":"resp_1"}'))).toBeUndefined()
})

test('a steering says what it is for, and about how much it is', () => {
  const steer = readSteer(Buffer.from(JSON.stringify({ type: 'response.steer', previous_response_id: 'resp_1', input: 'x'.repeat(400) })))
  expect(steer).toMatchObject({ target: 'resp_1', mediaTokens: 0, fileIds: [] })
  expect(steer!.inputTokens).toBeGreaterThanOrEqual(200)
  expect(readSteer(Buffer.from('{'))).toBeUndefined()
})
