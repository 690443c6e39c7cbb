import { expect, test } from 'vitest'
import { Reader } from './reader.ts'

const events = ['event: a\ndata: {"n":1}\n\n', 'event: b\ndata: {"n":2}\n\n', 'data: {"usage":{}}\n\n']
const body = events.join('')
const chunked = (parts: readonly string[]) => `${parts.map(part => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`
const streamHead = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'

const json = {
  name: 'JSON',
  wire: 'HTTP/1.1 429 Too Many\r\nContent-Length: 11\r\n\r\n{"error":1}',
  status: 429,
  bytes: 11,
  events: 0,
  tail: '{"error":1}',
}
const stream = { name: 'a stream', wire: streamHead + chunked(events), status: 200, bytes: body.length, events: 3, tail: body }
const torn = {
  ...stream,
  name: 'a stream whose chunks do not end with its events',
  wire: streamHead + chunked([...body.matchAll(/[\s\S]{1,7}/g)].map(String)),
}
const together = { ...stream, name: 'a stream whose events come together', wire: streamHead + chunked([body]) }
const waited = {
  ...stream,
  name: 'a stream with comments for whoever waits',
  wire: streamHead + chunked([':\n\n', events[0]!, ': still here\n\n:\n\n', ...events.slice(1)]),
  tail: expect.stringContaining('usage'),
}
const empty = {
  name: 'an empty body',
  wire: 'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n',
  status: 204,
  bytes: 0,
  events: 0,
  tail: '',
}

for (const { name, wire, ...heard } of [json, stream, torn, together, waited, empty]) {
  test(`${name} is read the same wherever the socket cuts it`, () => {
    for (let cut = 0; cut < wire.length; cut += 1) {
      const reader = new Reader()
      expect(reader.push(Buffer.from(wire.slice(0, cut)), 1)).toBe(false)
      expect(reader.push(Buffer.from(wire.slice(cut)), 2)).toBe(true)
      expect({ ...reader.heard, tail: reader.heard.tail.toString() }).toMatchObject(heard)
    }
  })
}

test('nothing of what was read is needed any more: the next may be read in the same memory', () => {
  const reader = new Reader()
  const memory = Buffer.alloc(7)
  let isWhole = false
  for (const part of Buffer.from(stream.wire)
    .toString()
    .match(/[\s\S]{1,7}/g)!)
    isWhole = reader.push(memory.subarray(0, memory.write(part)), 1)
  memory.fill(0)
  expect([isWhole, reader.heard.tail.toString()]).toEqual([true, body])
})

test('the next answer on the same connection begins anew', () => {
  const reader = new Reader()
  for (const { wire, bytes } of [stream, json, stream]) {
    expect(reader.push(Buffer.from(wire), 1)).toBe(true)
    expect(reader.heard.bytes).toBe(bytes)
    reader.reset()
  }
})

test('the time to the first event, and the longest between two, are told', () => {
  const reader = new Reader()
  for (const [at, part] of [streamHead, ...events].entries()) {
    const wire = at === 0 ? part : `${part.length.toString(16)}\r\n${part}\r\n`
    expect(reader.push(Buffer.from(wire), [10, 30, 35, 75][at]!)).toBe(false)
  }
  expect(reader.heard).toMatchObject({ firstEventMs: 30, longestSilenceMs: 40, events: 3 })
})
