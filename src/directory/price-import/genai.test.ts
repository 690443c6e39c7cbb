import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findProvider } from '@pydantic/genai-prices'
import { expect, test } from 'vitest'
import { formatUsd } from '../../ledger/money.ts'
import { readGenai } from './genai.ts'

const nowMs = Date.UTC(2026, 10, 25)
const dist = dirname(fileURLToPath(import.meta.resolve('@pydantic/genai-prices')))

const small = `
/* not data */ const E=[{id:"other",models:[{id:"x",prices:{input_mtok:9,output_mtok:9}}]},{id:'openai',name:\`OpenAI\`,flag:!0,models:[
  {id:"m",prices:[
    {constraint:{start_date:"2027-01-01",type:"start_date"},prices:{input_mtok:3,output_mtok:5e-3}},
    {prices:{input_mtok:1,output_mtok:2}},
    {constraint:{start_date:"2026-08-21",type:"start_date"},prices:{input_mtok:.5,cache_write_mtok:.625,output_mtok:875e-5,web_searches_kcount:10}},
  ]},
  {id:"long",prices:{input_mtok:{base:5,tiers:[{start:271999,price:10}]},cache_read_mtok:.5,output_mtok:{base:30,tiers:[{start:271999,price:45}]},storage_searches_kcount:2.5}},
  {id:"round",prices:{input_mtok:{base:5,tiers:[{start:272e3,price:10},{start:5e5,price:20}]},output_mtok:30}},
  {id:"hears",prices:{input_mtok:1,output_mtok:1,input_audio_mtok:3}},
  {id:"embeds",prices:{input_mtok:.02}},
  {id:"night",prices:[{constraint:{type:"time_of_date",start_time:"00:30:00Z",end_time:"16:30:00Z"},prices:{input_mtok:1,output_mtok:1}}]},
]}], J = 3; J.map(e => e)`

test('prices, dates and bands are read out of the source, without running any of it', () => {
  const { prices, notes, leftOut } = readGenai(small, 'a file', nowMs)
  const rows = prices.map(({ model, contextOver, fromMs, untilMs, ...rates }) => {
    const usd = [rates.input, rates.cached, rates.cacheWrite, rates.cacheWrite12h, rates.output].map(formatUsd)
    return [
      model,
      contextOver,
      ...[fromMs, untilMs].map(ms => (ms === undefined ? '-' : new Date(ms).toISOString().slice(0, 10))),
      ...usd,
    ].join(' ')
  })
  expect(rows).toEqual([
    'm 0 - 2027-01-01 0.50 0.50 0.625 1.25 0.00875',
    'm 0 2027-01-01 - 3.00 3.00 3.00 3.00 0.005',
    'long 0 - - 5.00 0.50 5.00 5.00 30.00',
    'long 272000 - - 10.00 0.50 10.00 10.00 45.00',
    'round 0 - - 5.00 5.00 5.00 5.00 30.00',
    'round 272000 - - 10.00 10.00 10.00 10.00 30.00',
    'round 500000 - - 20.00 20.00 20.00 20.00 30.00',
  ])
  expect(prices.map(({ webSearch, fileSearch }) => [webSearch, fileSearch]).slice(0, 3)).toEqual([
    [10_000_000n, undefined],
    [undefined, undefined],
    [undefined, 2_500_000n],
  ])
  expect(notes).toEqual([
    expect.stringMatching(/^long: long rates begin above 271,999/),
    expect.stringContaining('12 hours'),
    expect.stringContaining('one tier'),
  ])
  expect(leftOut).toEqual([
    { model: 'hears', why: 'it has input_audio_mtok, which the book does not count' },
    { model: 'embeds', why: 'it has no rates for text in and out' },
    { model: 'night', why: 'its price depends on more than the date' },
  ])
})

test.each(['index.js', 'index.cjs'])('the installed package, %s, is read as it reads itself', file => {
  const { prices, leftOut } = readGenai(readFileSync(join(dist, file), 'utf8'), 'a file', nowMs)
  const theirs = findProvider({ providerId: 'openai' })!.models
  const models = new Set([...prices, ...leftOut].map(({ model }) => model))
  expect(models).toEqual(new Set(theirs.map(({ id }) => id)))
  for (const { model, input, output, contextOver } of prices) {
    const { prices: said } = theirs.find(({ id }) => id === model)!
    const { input_mtok: into, output_mtok: out } = Array.isArray(said) ? said.at(-1)!.prices : said
    const rate = (one: typeof into) => (typeof one !== 'object' ? one : contextOver === 0 ? one.base : one.tiers[0]!.price)
    expect([model, Number(formatUsd(input)), Number(formatUsd(output))]).toEqual([model, rate(into), rate(out)])
  }
})

test('its JSON is read too', () => {
  const json = JSON.stringify([{ id: 'openai', models: [{ id: 'm', prices: { input_mtok: 1.1, output_mtok: 4.4 } }] }])
  expect(readGenai(json, 'a file', nowMs).prices).toMatchObject([{ model: 'm', input: 1_100_000_000n, output: 4_400_000_000n }])
})

test.each([
  ['console.log(1)', 'there is no list of providers in it'],
  ['[{"id": "other"}]', 'the provider openai must be an object'],
  ['[{"id": "openai"}]', 'the models of openai must be a list'],
  ['[{"id": "openai", "models": [{}]}]', 'a model of openai must have an id'],
  ['[{"id": "openai", "models": [{"id": "m"}]}]', 'the prices of m must be a list'],
  ['const E = [{id: process.exit(3)}]', 'line 1: "process.exit(3)}]" must be data'],
  [
    '[{"id": "openai", "models": [{"id": "m", "prices": [{"constraint": {"start_date": "soon"}, "prices": {}}]}]}]',
    'the start_date of a price of m must be a date such as 2026-01-31',
  ],
])('what cannot be read is told: %.50s', (text, sentence) => {
  expect(() => readGenai(text, 'a file', nowMs)).toThrow(sentence)
})
