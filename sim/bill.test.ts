import { expect, test } from 'vitest'
import { type BillRow, csvOf, labelOf } from './bill.ts'
import { ask, askStream } from './listen.ts'
import { openSim, type SimOptions } from './sim.ts'

const options: SimOptions = { prices: { 'gpt-5.4': { input: '0.001', output: '0.01' } } }
const dayMs = 86_400_000

test('the invoice adds up what was answered, by day, key and model, and is no call itself', async () => {
  let nowMs = Date.UTC(2026, 0, 31, 23, 59, 59)
  await using sim = await openSim({ ...options, record: false, nowMs: () => nowMs })
  sim.script({}, { text: 'one two three four' })
  sim.script({ key: 'sk-2' }, [{ status: 429 }, { text: 'one two three four', end: 'cut', afterBytes: 10 }, { end: 'cut', afterBytes: 0 }])
  await ask(sim).heard
  await askStream(sim).heard
  nowMs += 1_000
  await ask(sim).heard
  for (let n = 0; n < 3; n++) await ask(sim, { key: 'sk-2' }).heard
  await sim.idle()
  const answer = await fetch(`${sim.url}/invoice`)
  expect(sim.attempts).toEqual([])
  const sums = { model: 'gpt-5.4', cached_tokens: 0 }
  const one = { requests: 1, input_tokens: 2, output_tokens: 5, cost_usd: '0.000000052' }
  expect(await answer.json()).toEqual({
    object: 'invoice',
    data: [
      { ...sums, day: '2026-01-31', key: labelOf('sk-1'), requests: 2, input_tokens: 4, output_tokens: 10, cost_usd: '0.000000104' },
      { ...sums, day: '2026-02-01', key: labelOf('sk-1'), ...one },
      { ...sums, day: '2026-02-01', key: labelOf('sk-2'), ...one },
    ],
  })
  expect(JSON.stringify(sim.invoice)).not.toContain('sk-1')
})

test('as a file it has a header, and what would break a line is quoted', async () => {
  await using sim = await openSim({ ...options, nowMs: () => dayMs })
  await ask(sim).heard
  await sim.idle()
  const csv = await fetch(`${sim.url}/invoice?format=csv`)
  expect(csv.headers.get('content-type')).toBe('text/csv; charset=utf-8')
  expect((await csv.text()).split('\r\n')).toEqual([
    'day,key,model,requests,input_tokens,cached_tokens,output_tokens,cost_usd',
    expect.stringMatching(/^1970-01-02,key_[0-9a-f]{12},gpt-5\.4,1,2,0,\d+,0\.\d{9}$/),
    '',
  ])
  const row: BillRow = {
    day: 'd',
    key: 'a,"b"',
    model: 'm',
    requests: 1,
    input_tokens: 0,
    cached_tokens: 0,
    output_tokens: 0,
    cost_usd: '0',
  }
  expect(csvOf([row]).split('\r\n')[1]).toBe('d,"a,""b""",m,1,0,0,0,0')
})

test('anything else at that path is refused in a sentence', async () => {
  await using sim = await openSim(options)
  expect((await fetch(`${sim.url}/invoice`, { method: 'POST' })).status).toBe(405)
  const answer = await fetch(`${sim.url}/invoice?format=xml`)
  expect([answer.status, await answer.text()]).toEqual([400, expect.stringContaining('it takes json or csv')])
})
