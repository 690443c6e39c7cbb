import { expect, test } from 'vitest'
import { formatUsd } from '../../ledger/money.ts'
import { readLitellm } from './litellm.ts'
import { litellmFile } from './price-import.fixture.ts'

test('USD per token become USD per million, by tier and band, to the last digit', () => {
  const { prices, notes, leftOut } = readLitellm(litellmFile, 'a file')
  const rows = prices.map(({ model, tier, contextOver, input, cached, cacheWrite, cacheWrite12h, output }) =>
    [model, tier, contextOver, ...[input, cached, cacheWrite, cacheWrite12h, output].map(formatUsd)].join(' '),
  )
  expect(rows).toEqual([
    'm-long default 0 1.25 0.125 1.5625 3.125 10.00',
    'm-long default 272000 2.50 0.25 2.50 2.50 15.00',
    'm-long fast 0 2.50 0.25 2.50 2.50 20.00',
    'm-long flex 0 0.625 0.0625 0.625 0.625 5.00',
    'm-long batch 0 0.625 0.625 0.625 0.625 5.00',
    'm-long flex 272000 1.25 1.25 1.25 1.25 7.50',
    'm-plain default 0 0.033 0.033 0.033 0.033 0.12',
  ])
  expect(prices[0]).toMatchObject({ webSearch: 10_000_000n, maxOutput: 64_000, source: 'a file' })
  // What a search costs depends on what no answer tells.
  expect(prices.at(-1)).not.toHaveProperty('webSearch')
  expect(prices.at(-1)).not.toHaveProperty('maxOutput')
  expect(notes).toEqual([expect.stringContaining('12 hours')])
  expect(leftOut).toEqual([
    { model: 'm-embeds', why: 'its mode is embedding' },
    { model: 'm-hears', why: 'it has input_cost_per_audio_token, which the book does not count' },
  ])
})

const entry = (fields: string) => `{"m": {"litellm_provider": "openai", "mode": "chat", ${fields}}}`

test.each([
  ['', 'line 1: the end of the file must be data'],
  ['[]', 'the file must be an object'],
  ['{"a": }', 'line 1: "}" must be data'],
  ['{\n"a": 1\n"b": 2}', 'line 3: "\\"b\\": 2}" must be a comma or }'],
  ['{"a": "x', 'is a text without an end'],
  ['{"a": 1, "a": 2}', 'may not name "a" twice'],
  ['['.repeat(100_000), 'may not be nested more than 30 deep'],
  [entry('"input_cost_per_token": "1e-06", "output_cost_per_token": 1'), 'm.input_cost_per_token must be a number'],
  [
    entry('"input_cost_per_token": -1e-06, "output_cost_per_token": 1'),
    'm.input_cost_per_token is -1e-06; it must be a price of zero or more',
  ],
  [entry('"input_cost_per_token": 1e-99, "output_cost_per_token": 1'), 'it must be a price of zero or more'],
  [entry('"input_cost_per_token": 1e999999999, "output_cost_per_token": 1'), 'it must be a price of zero or more'],
  [entry(`"input_cost_per_token": 0.${'1'.repeat(60)}, "output_cost_per_token": 1`), 'it must be a price of zero or more'],
  [entry('"input_cost_per_token": 1.0000000000000001e-06, "output_cost_per_token": 1'), 'which is no whole number of nano-dollars'],
])('what cannot be read is told: %.60s', (text, sentence) => {
  expect(() => readLitellm(text, 'a file')).toThrow(sentence)
})

test('a name means nothing to us', () => {
  const text =
    '{"__proto__": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06, "constructor": 1}}'
  expect(readLitellm(text, 'a file').prices).toMatchObject([{ model: '__proto__', input: 1_000_000_000n }])
  expect(readLitellm('{"m": null, "n": 3, "o": {"litellm_provider": "openai"}}', 'a file')).toEqual({ prices: [], notes: [], leftOut: [] })
})
