import { expect, test } from 'vitest'
import { type FigureSource, figuresOfCsv, figuresOfInvoice } from './figures.ts'

const source: FigureSource = { shown: 'u.csv', account: undefined, names: { proj_1: 'openai' } }
const csv = (text: string, more: Partial<FigureSource> = {}) => figuresOfCsv(text, { ...source, ...more })

test('columns may stand in any order, and what is not known is named', () => {
  const text =
    'Cost USD,Model,Project ID,Team,Output Tokens,Input Tokens,Start Time,End Time\n1.50,"gpt-5, large",proj_1,x,2,10,1769817600,1769904000\n'
  expect(csv(text)).toEqual({
    ignored: ['Team'],
    figures: [{ day: '2026-01-31', account: 'openai', model: 'gpt-5, large', inputTokens: 10, outputTokens: 2, cost: '1.50' }],
  })
})

test('what is left empty is not said, and a name that is not mapped is an account', () => {
  const text = 'day,account,model,requests,input_tokens,cached_tokens,output_tokens\n2026-01-31,b,m,,1,0,2\n2026-01-31,b,m,3,1,,2\n'
  expect(csv(text).figures).toEqual([
    { day: '2026-01-31', account: 'b', model: 'm', inputTokens: 1, cachedTokens: 0, outputTokens: 2 },
    { day: '2026-01-31', account: 'b', model: 'm', requests: 3, inputTokens: 1, outputTokens: 2 },
  ])
})

test('an account may be called as something that every object has', () => {
  const text = 'day,account,model,input_tokens,output_tokens\n2026-01-31,constructor,m,1,2\n'
  expect(csv(text).figures).toMatchObject([{ account: 'constructor' }])
  expect(csv(text, { account: 'a1' }).figures).toMatchObject([{ account: 'a1' }])
})

test('--account stands for the only name in a file, and for none', () => {
  const account = 'a1'
  expect(csv('day,model,input_tokens,output_tokens\n2026-01-31,m,1,2', { account }).figures).toMatchObject([{ account }])
  const two = 'day,project,model,input_tokens,output_tokens\n2026-01-31,p,m,1,2\n2026-01-31,q,m,1,2\n'
  expect(csv(two.replace(',q,', ',p,'), { account }).figures).toMatchObject([{ account }, { account }])
  expect(() => csv(two, { account })).toThrow('u.csv has figures of p, q; instead of --account say --map LABEL=ACCOUNT for each.')
})

const titles = 'day,account,model,input_tokens,output_tokens,cost_usd'
const wrong: readonly (readonly [string, string])[] = [
  ['', 'u.csv is empty; its first line names the columns: day (or start_time'],
  ['day,model\n', 'u.csv has no column input_tokens, output_tokens, account (or --account NAME); it takes day'],
  ['account,model,input_tokens,output_tokens\n', 'u.csv has no column day; it takes'],
  [`${titles},date\n`, 'u.csv has two columns for the same: "day" and "date".'],
  [`${titles}\n2026-01-31,a,m,1\n`, 'u.csv:2: there are 4 cells, but 6 columns.'],
  [`${titles}\n\n2026-01-31,a,m,1.5,2,\n`, 'u.csv:3: input_tokens is "1.5"; it takes a whole number, without signs and separators.'],
  [`${titles}\n2026-01-31,a,m,"1,000",2,\n`, 'u.csv:2: input_tokens is "1,000"; it takes a whole number'],
  [`${titles}\n2026-01-31,a,m,1,,\n`, 'u.csv:2: output_tokens is empty; it takes a whole number.'],
  [`${titles}\n2026-02-30,a,m,1,2,\n`, 'u.csv:2: day is "2026-02-30"; it takes a day of UTC such as 2026-01-31.'],
  [`${titles}\n31.01.2026,a,m,1,2,\n`, 'u.csv:2: day is "31.01.2026"; it takes a day of UTC such as 2026-01-31.'],
  [`${titles}\n2026-01-31,,m,1,2,\n`, 'u.csv:2: account is empty.'],
  [`${titles}\n2026-01-31,a,,1,2,\n`, 'u.csv:2: model is empty.'],
  [`${titles}\n2026-01-31,a,m,1,2,1e-3\n`, 'u.csv:2: cost_usd is "1e-3"; it takes USD as decimal text'],
  [`${titles}\n2026-01-31,a,m,1,2,$3\n`, 'u.csv:2: cost_usd is "$3"; it takes USD as decimal text'],
  [`${titles}\n"2026-01-31,a`, 'u.csv, line 2: a quote is opened and never closed.'],
  [
    'start_time,end_time,account,model,input_tokens,output_tokens\n2026-01-31T23:00:00Z,2026-02-01T01:00:00Z,a,m,1,2\n',
    'u.csv:2: from 2026-01-31T23:00:00Z to 2026-02-01T01:00:00Z is not within one day of UTC.',
  ],
]

test.each(wrong)('%j is refused whole', (text, sentence) => {
  expect(() => csv(text)).toThrow(sentence)
})

test('every line that is wrong is told at once', () => {
  const lines = Array.from({ length: 25 }, (_, n) => `2026-01-31,a,m,x${n},2,`)
  const told = () => csv(`${titles}\n${lines.join('\n')}\n`)
  expect(told).toThrow(/^u\.csv:2: .*\n(.*\n)*u\.csv:21: .*\nAnd 5 more\.$/)
})

test('an invoice has the same names; its numbers may be numbers', () => {
  const row = { day: '2026-01-31', key: 'proj_1', model: 'm', requests: 2, input_tokens: 1, output_tokens: 2, cost_usd: '0.5', note: null }
  expect(figuresOfInvoice(JSON.stringify({ data: [row] }), source)).toEqual({
    ignored: ['note'],
    figures: [{ day: '2026-01-31', account: 'openai', model: 'm', requests: 2, inputTokens: 1, outputTokens: 2, cost: '0.5' }],
  })
  expect(figuresOfInvoice('{"data":[]}', source).figures).toEqual([])
  for (const text of ['', '[]', '{"data":1}', '{"data":[1]}'])
    expect(() => figuresOfInvoice(text, source)).toThrow('u.csv is no invoice: it must be a JSON object with a list "data" of objects.')
  const wrongRow = JSON.stringify({ data: [row, { ...row, input_tokens: -1 }] })
  expect(() => figuresOfInvoice(wrongRow, source)).toThrow('u.csv: data[1]: input_tokens is "-1"')
})
