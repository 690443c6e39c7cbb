import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Recorded, recordedStreams } from './corpus.ts'
import { cutAt, cuts } from './cuts.ts'
import { type Relaying, relayed } from './relayed.ts'

/** What leaves the gateway is what came in, but for the changes that SPEC 1.7 names, wherever the network cuts it. */

const recorded = await recordedStreams()
const runs = process.env.HEADGATE_TEST_FULL === undefined ? 20 : 200

const ways = recorded.flatMap(stream =>
  [false, true].flatMap(isAlias =>
    (stream.protocol === 'chat' ? [true, false] : [false]).map(showsUsage => ({ stream, isAlias, showsUsage })),
  ),
)

describe.for(ways)('$stream.name, alias: $isAlias, usage asked for: $showsUsage', ({ stream, isAlias, showsUsage }) => {
  const way: Relaying = { protocol: stream.protocol, isAlias, showsUsage }
  const wanted = changed(stream, way)
  const hear = async (chunks: readonly Buffer[]) => withoutOurEnd(await relayed(chunks, way), stream)

  test('is passed on as it came, but for what is to be changed', async () => {
    expect(await hear([stream.bytes])).toBe(wanted)
  })

  test('is passed on the same wherever it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(cuts(stream.bytes.length), async at => {
        expect(await hear(cutAt(stream.bytes, at))).toBe(wanted)
      }),
      { numRuns: runs },
    )
  })
})

const unended = 'a missing blank line at the end'

/** An event without its blank line is none: a stream that ends so has no end, and is given one. */
function withoutOurEnd(text: string, { name }: Recorded): string {
  if (name !== unended) return text
  const at = text.lastIndexOf('event: response.failed\n')
  expect(text.slice(at)).toContain('The upstream ended the answer before it was complete')
  return text.slice(0, at)
}

/** The stated changes, made to the text of the recorded stream by other means than the gateway's. */
function changed({ name, bytes, protocol }: Recorded, { isAlias, showsUsage }: Relaying): string {
  let text = bytes.toString()
  if (name === unended) text = text.slice(0, text.lastIndexOf('event: response.completed'))
  // What an upstream says to fill its silence before it answers is not said on.
  text = text.replace(/^(: [^\n]*\n\n)+/, '')
  if (isAlias) text = text.replaceAll('"model":"sim"', '"model":"fast"')
  if (protocol === 'chat' && !showsUsage)
    text = text.replaceAll(/data: [^\r\n]*"choices":\[\][^\r\n]*(\r?\n){2}/g, '').replaceAll(',"usage":null', '')
  return text
}
