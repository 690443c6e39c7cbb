import { expect } from 'vitest'
import { sizeOf } from '../../src/protocols/input-size.ts'
import { openStream, type Refusal, refusalOf, send, type Target } from '../client.ts'

/** Calls that cost the same at most: for tests that come with many of them, and money for some. */
export interface EqualBodies {
  /** A stream's, and that of JSON. */
  readonly bodies: readonly [string, string]
  /** Tokens of input that are held for. */
  readonly input: number
  /** The most that one costs whose output is so long. Nano-dollars. */
  cost(outputTokens: number): bigint
}

/** Nano-dollars a token, of the world's price: the dearest kind of input, which a hold reckons with, and output. */
const perToken = { input: 2_500n, output: 10_000n }
/** Less room for output than this, or than the ceiling if that is lower, is not worth beginning. */
export const floorTokens = 1_024

export function equalBodies(ceiling: number): EqualBodies {
  const bodies = [bodyOf(true, ceiling), bodyOf(false, ceiling)] as const
  const [input, ...other] = new Set(bodies.map(body => sizeOf(JSON.parse(body), Buffer.byteLength(body)).tokens))
  expect(other).toEqual([]) // A stream is held for like any other call.
  return { bodies, input: input!, cost: outputTokens => BigInt(input!) * perToken.input + BigInt(outputTokens) * perToken.output }
}

/** Both forms are equally long, because the length says how many tokens of input are held for. */
function bodyOf(stream: boolean, ceiling: number): string {
  return `{"model":"sim","input":"hello","max_output_tokens":${ceiling},"stream":${stream ? 'true ' : 'false'}}`
}

/** Every second one is a stream. An answer counts as served only when it is whole. */
export async function equalCall(target: Target, [stream, json]: EqualBodies['bodies'], number: number): Promise<'served' | Refusal> {
  if (number % 2 === 1) {
    const answer = await send(target, { body: json })
    if (answer.status !== 200) return refusalOf(answer)
    expect(answer).toMatchObject({
      ending: 'whole',
      json: { object: 'response', status: expect.stringMatching(/^(completed|incomplete)$/) },
    })
    return 'served'
  }
  await using open = openStream(target, { body: stream })
  const { status, headers } = await open.begun
  const events = await open.rest()
  if (status !== 200) {
    const read = JSON.parse(open.text)
    return refusalOf({ status, headers, json: read, error: read.error, body: open.text, bytes: Buffer.from(open.text), ending: 'whole' })
  }
  expect(events.at(-1)!.type).toMatch(/^response\.(completed|incomplete)$/)
  return 'served'
}
