import { expect, test } from 'vitest'
import { type InvoiceLine, newLine, priceList, type SimPrice } from './invoice.ts'
import { ask, askStream } from './listen.ts'
import type { Script } from './script.ts'
import { openSim } from './sim.ts'
import { nothingUsed, type TokenUsage } from './usage.ts'

const price: SimPrice = {
  input: '2.50',
  cached: '0.25',
  cacheWrite: '3.125',
  cacheWrite12h: '5',
  output: '15',
  webSearch: '0.01',
  tiers: { flex: { input: '1.25', output: '7.50' } },
}

/** Nano-dollars, worked out by hand. */
const costs: { usage: Partial<TokenUsage>; tier?: string; nanos: bigint }[] = [
  { usage: { inputTokens: 1000 }, nanos: 2_500_000n },
  { usage: { outputTokens: 1000, reasoningTokens: 900 }, nanos: 15_000_000n },
  { usage: { inputTokens: 1000, cachedTokens: 400 }, nanos: 1_600_000n },
  { usage: { inputTokens: 1000, cachedTokens: 400, cacheWriteTokens: 600 }, nanos: 1_975_000n },
  { usage: { inputTokens: 1000, cacheWriteTokens: 1000, cacheWrite12hTokens: 200 }, nanos: 3_500_000n },
  { usage: { inputTokens: 10, cachedTokens: 40 }, nanos: 10_000n },
  { usage: { webSearches: 3 }, nanos: 30_000_000n },
  { usage: { inputTokens: 1000, cachedTokens: 400, outputTokens: 100 }, tier: 'flex', nanos: 2_000_000n },
  { usage: { inputTokens: 1000 }, tier: 'priority', nanos: 2_500_000n },
]

test.each(costs)('$usage at tier $tier costs $nanos nano-dollars', ({ usage, tier = 'default', nanos }) => {
  const line = { ...newLine('k', 'm', false), modelServed: 'm', tier }
  priceList({ m: price })(line, { ...nothingUsed, ...usage })

  expect(line).toMatchObject({ costNanos: nanos, priced: true })
})

test.each([
  ['0.0005', 1, 1n],
  ['0.000499', 1, 0n],
  ['0.0015', 1, 2n],
  ['0.0005', 3, 2n],
])('at %s USD a million, %i tokens are rounded half up, once, to %i', (input, inputTokens, nanos) => {
  const line = { ...newLine('k', 'm', false), modelServed: 'm' }
  priceList({ m: { input, output: '0' } })(line, { ...nothingUsed, inputTokens })

  expect(line.costNanos).toBe(nanos)
})

test('a price that is no decimal text is refused', () => {
  expect(() => priceList({ m: { input: '1e-3', output: '1' } })).toThrow('"1e-3" is not USD')
})

/** 'hello' in: 2 tokens, 'one two three four' in two pieces out: 5 tokens, 3 after the first piece. Input costs 1, output 10 a token. */
const bills: { script: Script; stream: boolean; line: Partial<InvoiceLine> }[] = [
  { script: {}, stream: true, line: { costNanos: 52n, cut: false, usageReported: true } },
  { script: {}, stream: false, line: { costNanos: 52n, cut: false, usageReported: true } },
  { script: { usage: null }, stream: true, line: { costNanos: 52n, cut: false, usageReported: false } },
  { script: { usage: { output_tokens: 100 } }, stream: true, line: { costNanos: 1002n, usageReported: true } },
  { script: { cachedTokens: 1 }, stream: false, line: { costNanos: 52n } },
  { script: { end: 'failed', afterEvents: 5 }, stream: true, line: { costNanos: 32n, cut: false, usageReported: true } },
  { script: { end: 'failed', afterEvents: 0 }, stream: true, line: { costNanos: 0n, usageReported: false, answered: true } },
  { script: { end: 'cut', afterEvents: 1 }, stream: true, line: { costNanos: 2n, cut: true, usageReported: false } },
  { script: { end: 'cut', afterEvents: 5 }, stream: true, line: { costNanos: 32n, cut: true, usageReported: false } },
  { script: { end: 'eof' }, stream: true, line: { costNanos: 52n, cut: true, usageReported: false } },
  { script: { end: 'cut', afterEvents: 0 }, stream: true, line: { costNanos: 0n, cut: true, answered: false } },
  { script: { end: 'cut', afterBytes: 10 }, stream: false, line: { costNanos: 52n, cut: true, answered: true } },
  { script: { end: 'cut', afterBytes: 0 }, stream: false, line: { costNanos: 0n, cut: true, answered: false } },
  { script: { errorFirst: true }, stream: true, line: { costNanos: 0n, ended: 'error', answered: true } },
  { script: { status: 429 }, stream: true, line: { costNanos: 0n, ended: 'refused', modelServed: null } },
]

test.each(bills)('the invoice for $script, stream $stream, says $line', async ({ script, stream, line }) => {
  await using sim = await openSim({ prices: { 'gpt-5.4': { input: '0.001', output: '0.01' } } })
  sim.script({}, { text: 'one two three four', deltas: 2, ...script })
  await (stream ? askStream(sim) : ask(sim)).heard
  await sim.idle()

  expect(sim.invoice.length).toBe(1)
  expect(sim.invoice[0]).toMatchObject({ key: 'sk-1', modelAsked: 'gpt-5.4', stream, clientLeft: false, ...line })
})

test('a client that leaves midway is charged what it was shown', async () => {
  await using sim = await openSim({ prices: { 'gpt-5.4': { input: '0.001', output: '0.01' } } })
  sim.script({}, { text: 'one two three four', deltas: 2, hold: { gate: 'weir', at: 5 } })
  const listening = askStream(sim)
  await listening.until('"sequence_number":4')
  listening.leave()
  await sim.gone(1)
  await sim.idle()

  expect(sim.invoice[0]).toMatchObject({ ended: 'left', cut: true, clientLeft: true, costNanos: 32n, usageReported: false })
})

test('a call is priced as the model that served it, else as the one asked for', async () => {
  await using sim = await openSim({ prices: { asked: { input: '1', output: '0' }, served: { input: '2', output: '0' } } })
  const body = { model: 'asked', input: 'hello' }
  for (const model of ['served', 'asked-2026-03-05']) {
    sim.script({}, { model })
    await ask(sim, { body }).heard
  }
  await ask(sim, { body: { ...body, model: 'unpriced' } }).heard

  expect(sim.invoice.map(line => [line.modelServed, line.costNanos, line.priced])).toEqual([
    ['served', 4_000n, true],
    ['asked-2026-03-05', 2_000n, true],
    ['asked-2026-03-05', 0n, false],
  ])
})

test('tokens are counted by the rule that the test gives', async () => {
  await using sim = await openSim({ countTokens: text => text.split(' ').length })
  sim.script({}, { text: 'one two three four' })
  const input = [
    { role: 'user', content: [{ type: 'input_text', text: 'a b c' }] },
    { type: 'function_call_output', call_id: 'x y z', output: 'd e' },
  ]
  await ask(sim, { body: { model: 'm', instructions: 'be brief', input } }).heard

  expect(sim.invoice[0]!.usage).toMatchObject({ inputTokens: 3 + 2 + 2, outputTokens: 4 })
})
