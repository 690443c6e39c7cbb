import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dataInPlace, dataOf, EventTooLarge, sseReader, typeOf } from './sse.ts'

interface Told {
  readonly kind: 'event' | 'comment' | 'rest'
  readonly text: string
  readonly type?: string
}

function tell(chunks: readonly Buffer[]): Told[] {
  const told: Told[] = []
  const reader = sseReader()
  const onEvent = (raw: Buffer, type: string) => void told.push({ kind: 'event', text: raw.toString('latin1'), type })
  const onComment = (raw: Buffer) => void told.push({ kind: 'comment', text: raw.toString('latin1') })
  for (const chunk of chunks) reader.push(chunk, onEvent, onComment)
  const rest = reader.end()
  if (rest.length > 0) told.push({ kind: 'rest', text: rest.toString('latin1') })
  return told
}

const brief = ({ kind, text, type }: Told) => (type === undefined ? [kind, text] : [kind, text, type])

test.each([
  ['event: a\ndata: 1\n\n', [['event', 'event: a\ndata: 1\n\n', 'a']]],
  [
    'event:a\r\ndata:1\r\n\r\ndata: {"type":"b"}\r\n\r\n',
    [
      ['event', 'event:a\r\ndata:1\r\n\r\n', 'a'],
      ['event', 'data: {"type":"b"}\r\n\r\n', 'b'],
    ],
  ],
  [
    'event: a\rdata: 1\r\rdata: 2\r\r',
    [
      ['event', 'event: a\rdata: 1\r\r', 'a'],
      ['event', 'data: 2\r\r', ''],
    ],
  ],
  [
    'data: x\n\r\ndata: y\r\n\ndata: z\n\n',
    [
      ['event', 'data: x\n\r\n', ''],
      ['event', 'data: y\r\n\n', ''],
      ['event', 'data: z\n\n', ''],
    ],
  ],
  [
    ': ping\n\n:\n\n',
    [
      ['comment', ': ping\n\n'],
      ['comment', ':\n\n'],
    ],
  ],
  [
    '\n\r\n\rdata: 1\n\n',
    [
      ['comment', '\n'],
      ['comment', '\r\n'],
      ['comment', '\r'],
      ['event', 'data: 1\n\n', ''],
    ],
  ],
  ['event: nothing\nid: 4\n\n', [['comment', 'event: nothing\nid: 4\n\n']]],
  [': why\nid: 4\ndata: 1\nevent: first\nevent: last\n\n', [['event', ': why\nid: 4\ndata: 1\nevent: first\nevent: last\n\n', 'last']]],
  ['data\n\n', [['event', 'data\n\n', '']]],
  [
    'database: 1\n\nevents: x\ndata: 1\n\n',
    [
      ['comment', 'database: 1\n\n'],
      ['event', 'events: x\ndata: 1\n\n', ''],
    ],
  ],
  ['\xef\xbb\xbfevent: a\ndata: 1\n\n', [['event', '\xef\xbb\xbfevent: a\ndata: 1\n\n', 'a']]],
  [
    'event: a\ndata: 1\n\nevent: b\ndata: 2\n',
    [
      ['event', 'event: a\ndata: 1\n\n', 'a'],
      ['rest', 'event: b\ndata: 2\n'],
    ],
  ],
  ['data: [DONE]\n\n', [['event', 'data: [DONE]\n\n', '']]],
  ['data: 1', [['rest', 'data: 1']]],
  ['', []],
])('%j is told as it came', (text, told) => {
  expect(tell([Buffer.from(text, 'latin1')]).map(brief)).toEqual(told)
})

test.each([
  ['event: a\ndata: {"type":"b"}\n\n', 'a'],
  ['data: {"type":"b"}\n\n', 'b'],
  ['data: { "x": {"type":"deep"}, "y": "\\"type\\":\\"no\\"", "t\\u0079pe" : "b\\u0021" }\n\n', 'b!'],
  ['data: {"sequence_number":1,\ndata: "type":"b"}\n\n', 'b'],
  ['data: {"type":7}\n\n', ''],
  ['data: {"type":\n\n', ''],
  ['event:\ndata: {"type":"b"}\n\n', 'b'],
  [': only\n\n', ''],
])('the type of %j is %j', (raw, type) => {
  expect(typeOf(Buffer.from(raw))).toBe(type)
})

test.each([
  ['event: a\ndata: 1\n\n', '1'],
  ['data: a\r\ndata:  b\r\n: c\r\ndata\r\ndata:d\r\n\r\n', 'a\n b\n\nd'],
  ['data: é\rdata: ü\r\r', 'é\nü'],
  ['event: a\n\n', ''],
])('the data of %j is %j', (raw, data) => {
  expect(dataOf(Buffer.from(raw))).toBe(data)
})

test('data in place stands where it stood, with blanks for all else', () => {
  const raw = Buffer.from('event: a\ndata: {"a":\n: {\r\ndata: 1}\n\n')
  const { bytes, from } = dataInPlace(raw)
  expect(bytes.toString()).toBe(`${' '.repeat(15)}{"a":${' '.repeat(12)}1}  `)
  expect(JSON.parse(bytes.toString('utf8', from))).toEqual({ a: 1 })
})

const line = fc.oneof(
  fc.constantFrom(
    '',
    'data',
    'data:',
    'event: response.created',
    'data: {"type":"response.output_text.delta","delta":"é"}',
    ':',
    ': ping',
    'id: 1',
    'retry: 5',
    'data: [DONE]',
  ),
  fc.string({ unit: 'grapheme' }).map(text => `data: ${text.replace(/[\r\n]/g, '')}`),
)
const stream = fc
  .array(fc.tuple(line, fc.constantFrom('\n', '\n', '\n', '\r\n', '\r')), { maxLength: 40 })
  .map(lines => Buffer.from(lines.flat().join('')))

test('wherever the chunks are cut, the same is told and every byte comes out again', () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(2000), { maxLength: 60 }), (bytes, cuts) => {
      const stops = [...new Set(cuts.map(cut => Math.min(cut, bytes.length))), bytes.length].sort((a, b) => a - b)
      let from = 0
      const chunks = stops.map(stop => bytes.subarray(from, (from = stop)))
      const told = tell(chunks)
      expect(told).toEqual(tell([bytes]))
      expect(told).toEqual(tell([...bytes].map(byte => Buffer.of(byte))))
      expect(told.map(({ text }) => text).join('')).toBe(bytes.toString('latin1'))
    }),
    { numRuns: 1000 },
  )
})

test('what is told agrees with the specification, read line by line', () => {
  fc.assert(
    fc.property(stream, bytes => {
      const told: string[] = []
      const reader = sseReader()
      reader.push(bytes, raw => void told.push(dataOf(raw)))
      reader.end()
      expect(told).toEqual(bySpecification(bytes.toString()))
    }),
    { numRuns: 1000 },
  )
})

/** The data of each event, by the algorithm of html.spec.whatwg.org 9.2.6. An empty data buffer is dispatched by us, not there. */
function bySpecification(text: string): string[] {
  const events: string[] = []
  let data: string[] = []
  for (const one of text.split(/\r\n|\n|\r/).slice(0, -1)) {
    const [, field, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(one) ?? []
    if (field === 'data') data.push(value ?? '')
    if (one !== '') continue
    if (data.length > 0) events.push(data.join('\n'))
    data = []
  }
  return events
}

test('an event within one chunk is a view of it', () => {
  const chunk = Buffer.from('data: 1\n\ndata: 2\n\n')
  const given: Buffer[] = []
  sseReader().push(chunk, raw => void given.push(raw))
  expect(given.map(raw => raw.buffer === chunk.buffer && raw.byteOffset - chunk.byteOffset)).toEqual([0, 9])
})

test('an event of twenty megabytes in small chunks is not copied again with every chunk', () => {
  const asked: number[] = []
  const reader = sseReader({
    allocate(bytes) {
      asked.push(bytes)
      return Buffer.allocUnsafe(bytes)
    },
  })
  const piece = Buffer.alloc(1000, 'x')
  const event = Buffer.concat([Buffer.from('data: '), ...Array.from({ length: 20_000 }, () => piece), Buffer.from('\n\n')])
  const given: Buffer[] = []
  for (let at = 0; at < event.length; at += 1000) reader.push(event.subarray(at, at + 1000), raw => void given.push(raw))
  expect(given.map(raw => raw.equals(event))).toEqual([true])
  // Whatever is copied is copied into one of these buffers, at most once over: so this bounds the work, on a busy machine too.
  const all = asked.reduce((sum, bytes) => sum + bytes, 0)
  expect(all).toBeGreaterThanOrEqual(event.length)
  expect(all).toBeLessThan(4 * event.length)
})

test('an event over the bound is refused, wherever it is cut; one at the bound is not', () => {
  const atBound = Buffer.from(`data: ${'x'.repeat(92)}\n\n`)
  const over = Buffer.from(`data: ${'x'.repeat(93)}\n\n`)
  for (const chunk of [1, 7, 50, 1000]) {
    const send = (bytes: Buffer) => {
      const reader = sseReader({ eventBytesMax: 100 })
      let events = 0
      for (let at = 0; at < bytes.length; at += chunk) reader.push(bytes.subarray(at, at + chunk), () => events++)
      return events
    }
    expect(send(Buffer.concat([atBound, atBound]))).toBe(2)
    expect(() => send(over)).toThrow(EventTooLarge)
  }
})

test('an event that begins like the one before is read to its end all the same', () => {
  const told: string[] = []
  const stream = [
    'event: a\ndata: 1\n\n',
    'event: a\ndata: 2\nevent: b\n\n', // The last line of a name counts.
    'event: a\ndata: 3\n\n',
    'event: a\n\n', // No data: nothing is dispatched.
    'event: a\ndata: 4\rdata: 5\n\n',
    'event: \ndata: {"type":"c"}\n\n',
    'event: \ndata: {"type":"d"}\n\n',
    'event: aa\ndata: 6\n\n',
  ]
  const reader = sseReader()
  for (const event of stream) reader.push(Buffer.from(event), (raw, type) => told.push(`${type} ${dataOf(raw).replace('\n', '+')}`))
  expect(told).toEqual(['a 1', 'b 2', 'a 3', 'a 4+5', 'c {"type":"c"}', 'd {"type":"d"}', 'aa 6'])
})

test.each([
  ['another of its type', 'event: a\ndata: 22\n\n'],
  ['one that goes on after a line end', 'event: a\ndata: 22\nx: 3\n\n'],
  ['two, divided by carriage returns', 'event: a\ndata: 2\r\rdata: 3\n\n'],
  ['one of two data lines', 'event: a\ndata: 2\ndata: 3\n\n'],
])('after an event comes %s, wherever it is cut', (_, next) => {
  const first = 'event: a\ndata: 1\n\n'
  const whole = tell([Buffer.from(first + next)]).map(brief)
  for (let at = 1; at <= next.length; at += 1) {
    const chunks = [first, next.slice(0, at), next.slice(at), first].map(text => Buffer.from(text))
    expect(tell(chunks).map(brief), `cut at ${at}`).toEqual([...whole, ['event', first, 'a']])
  }
})

test.each([
  ['in the middle of a line', 'x: '],
  ['after a line', 'id: 7\n'],
])('what looks like a whole event %s is a part of one', (_, begun) => {
  const first = 'event: a\ndata: 1\n\n'
  const whole = tell([Buffer.from(first + begun + first)]).map(brief)
  expect(tell([first, begun, first].map(text => Buffer.from(text))).map(brief)).toEqual(whole)
})
