import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { sseReader } from '../../src/protocols/sse.ts'
import { recordedStreams } from './corpus.ts'
import { cutAt, cuts } from './cuts.ts'

/** Wherever the network cuts a recorded stream, the reader tells the same events, and hands out the bytes that came in. */

const recorded = await recordedStreams()

describe.for(recorded)('$name', ({ bytes }) => {
  const whole = told([bytes])

  test('has events, and all of its bytes come out again', () => {
    expect(whole.filter(([kind]) => kind === 'event').length).toBeGreaterThan(3)
    expect(whole.map(([, raw]) => raw).join('')).toBe(bytes.toString('latin1'))
  })

  test('is told the same when it is cut once, at any byte', () => {
    const different: number[] = []
    for (let at = 1; at < bytes.length; at++) if (!isSame(told(cutAt(bytes, [at])), whole)) different.push(at)
    expect(different).toEqual([])
  })

  test('is told the same when it comes byte by byte, and cut anywhere any number of times', () => {
    expect(told([...bytes].map(byte => Buffer.of(byte)))).toEqual(whole)
    fc.assert(
      fc.property(cuts(bytes.length), at => {
        expect(told(cutAt(bytes, at))).toEqual(whole)
      }),
      { numRuns: 200 },
    )
  })
})

test('an event of twenty megabytes among others is told the same, wherever it is cut', () => {
  const data = Buffer.alloc(20_000_000, 'é')
  const before = 'event: response.created\ndata: {"type":"response.created"}\n\n'
  const bytes = Buffer.concat([Buffer.from(`${before}data: `), data, Buffer.from(`\r\n\r\n${before}`)])
  const whole = told([bytes])
  expect(whole.map(([kind, raw]) => [kind, raw.length])).toEqual([
    ['event', before.length],
    ['event', 20_000_010],
    ['event', before.length],
  ])
  fc.assert(
    fc.property(cuts(bytes.length), at => isSame(told(cutAt(bytes, at)), whole)),
    { numRuns: 10 },
  )
})

/** Event or comment or rest, its bytes, and an event's type. */
type Told = readonly [kind: 'event' | 'comment' | 'rest', raw: string, type?: string]

function told(chunks: readonly Buffer[]): Told[] {
  const all: Told[] = []
  const reader = sseReader()
  for (const chunk of chunks)
    reader.push(
      chunk,
      (raw, type) => void all.push(['event', raw.toString('latin1'), type]),
      raw => void all.push(['comment', raw.toString('latin1')]),
    )
  const rest = reader.end()
  if (rest.length > 0) all.push(['rest', rest.toString('latin1')])
  return all
}

/** Without the words that a failed comparison needs, which cost more than what is compared. */
function isSame(one: readonly Told[], other: readonly Told[]): boolean {
  return one.length === other.length && one.every((told, n) => told.every((part, m) => part === other[n]![m]))
}
