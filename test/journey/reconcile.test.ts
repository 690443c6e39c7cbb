import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { labelOf } from '../../sim/bill.ts'
import { openSim, type Sim } from '../../sim/sim.ts'
import { connectApi, pathOf } from '../../src/cli/client.ts'
import { said } from '../../src/cli/terminal.fixture.ts'
import { readConfig } from '../../src/config.ts'
import { formatUsd } from '../../src/ledger/money.ts'
import { open, type Served } from '../../src/main.ts'
import { type Json, openStream, send } from '../client.ts'
import { simPrice, until } from '../world.ts'

/** `headgate reconcile` on a real gateway, after calls that ended in every way, against the scripted upstream's own invoice. */
let folder: string
let sim: Sim
let served: Served
let key: string

const accounts = ['healthy', 'failing', 'silent', 'broken']
const apiOf = () => connectApi({ url: served.url, adminToken: served.adminToken, data: folder })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'headgate-reconcile-'))
  sim = await openSim({ prices: { sim: simPrice } })
  const env = { HEADGATE_LOG_LEVEL: 'silent', HEADGATE_STOP_NOTICE_MS: '0', HEADGATE_LISTEN: '127.0.0.1:0', HEADGATE_DATA: folder }
  served = await open(readConfig({ env, flags: {}, cwd: folder }))
  const { input, cached, cacheWrite, output } = simPrice
  const setup = {
    groups: [...accounts.map(name => ({ name, multiplier: '1.5' })), { name: 'leaving', onClientLeft: 'abort' }, { name: 'failover' }],
    accounts: [
      ...accounts.map((name, priority) => ({
        ...{ name, priority, baseUrl: `${sim.url}/v1`, apiKey: `up-${name}`, allowPrivateAddress: true, concurrency: 10 },
        groups: [name, ...(name === 'failing' ? ['leaving', 'failover'] : [])],
      })),
      { name: 'second', priority: 50, baseUrl: `${sim.url}/v1`, apiKey: 'up-second', allowPrivateAddress: true, groups: ['failover'] },
    ],
    users: [{ email: 'dev@example.com', concurrency: 0 }],
    prices: [{ model: 'sim', input, cached, cacheWrite, output, aliases: ['sim-2026-03-05'] }],
  }
  const api = apiOf()
  await api.send('POST', pathOf('apply'), { setup })
  await api.send('POST', pathOf('wallets', 'dev@example.com', 'credit'), { amount: '100', reason: 'test' })
  key = await keyFor('healthy')
})

afterAll(async () => {
  await served.stop()
  await sim.close()
  rmSync(folder, { recursive: true })
})

async function keyFor(group: string): Promise<string> {
  const made = await apiOf().send('POST', pathOf('keys'), { user: 'dev@example.com', groups: [group], name: `${group} ${Math.random()}` })
  return String(made['key'])
}

const maps = [...accounts, 'second'].flatMap(name => ['--map', `${labelOf(`up-${name}`)}=${name}`])

async function settled(): Promise<void> {
  const { drain, recorder } = served.gateway
  await until(() => served.gateway.live.size === 0 && drain.count === 0, 'calls still run')
  await sim.idle()
  await recorder.flush()
}

/** Runs the command, and says what it said. */
function headgate(...argv: string[]) {
  const env = { HEADGATE_URL: served.url, HEADGATE_ADMIN_TOKEN: served.adminToken }
  return said(['reconcile', '--since', '1d', ...argv], { env, cwd: folder, nowMs: Date.now() })
}

async function linesOf(...argv: string[]): Promise<{ code: number; lines: Record<string, Json> }> {
  const { code, out, err } = await headgate(...argv, '--json')
  if (out === '') throw new Error(err)
  const { lines } = JSON.parse(out) as { lines: Json[] }
  return { code, lines: Object.fromEntries(lines.map(line => [line['account'], line])) }
}

test('before anything was called both sides have nothing', async () => {
  expect(await headgate('--invoice', `${sim.url}/invoice`, ...maps)).toEqual({
    ...{ code: 0, err: '' },
    out: 'Neither side has anything in these days.\nNothing is unexplained.\n',
  })
})

test('what was reported and what was drained agrees to the nano-dollar, whatever the multiplier and the dated name', async () => {
  const target = { url: served.url, key }
  sim.script({ key: 'up-healthy' }, [
    { text: 'one two three' },
    { cachedTokens: 1, model: 'sim-2026-03-05' },
    { text: 'a longer text', deltas: 2, hold: { gate: 'left', at: 5 } },
  ])
  await send(target)
  await send(target, { body: { model: 'sim', input: 'hello, and more than hello', stream: true } })
  const leaving = openStream(target)
  await leaving.begun
  await sim.gate('left').reached()
  leaving.leave()
  await until(() => served.gateway.drain.count === 1, 'the answer is never drained')
  sim.open('left')
  await settled()
  const { code, lines } = await linesOf('--invoice', `${sim.url}/invoice`, ...maps)
  expect(code).toBe(0)
  expect(Object.keys(lines)).toEqual(['healthy'])
  const invoiced = sim.invoice.reduce((sum, { costNanos }) => sum + costNanos, 0n)
  expect(lines['healthy']).toMatchObject({
    ...{ model: 'sim', verdict: 'agrees', causes: [], difference: { requests: 0, inputTokens: 0, outputTokens: 0, cost: '0.00' } },
    ...{ ours: { requests: 3 }, parts: { reported: { requests: 2 }, drained: { requests: 1 }, estimated: { requests: 0 } } },
  })
  expect((lines['healthy']!['ours'] as Json)['cost']).toBe(formatUsd(invoiced))
})

test('an estimate, an attempt that nobody pays for and a call whose client left are named as what can make the gap', async () => {
  sim.script({ key: 'up-silent' }, { usage: null, text: 'words that nobody counted for us, which we estimate' })
  expect((await send({ url: served.url, key: await keyFor('silent') })).status).toBe(200)
  sim.script({ key: 'up-failing' }, [{ end: 'cut', afterBytes: 10, text: 'made, and never heard' }, { hold: 'unheard' }])
  sim.script({ key: 'up-second' }, {})
  expect((await send({ url: served.url, key: await keyFor('failover') })).status).toBe(200)
  const leaving = openStream({ url: served.url, key: await keyFor('leaving') })
  leaving.begun.catch(() => {})
  await sim.gate('unheard').reached()
  leaving.leave()
  await settled()
  const { code, lines } = await linesOf('--invoice', `${sim.url}/invoice`, ...maps)
  expect(code).toBe(0)
  expect(lines['second']).toMatchObject({ verdict: 'agrees', ours: { requests: 1 } })
  expect(lines['silent']).toMatchObject({
    verdict: 'explained',
    causes: [expect.stringMatching(/^1 estimated call worth 0\.\d+ USD, at most \d+\.\d+ USD$/)],
  })
  expect(lines['failing']).toMatchObject({
    ...{ verdict: 'explained', ours: { requests: 0, cost: '0.00' }, difference: { requests: 1 } },
    causes: [expect.stringMatching(/^2 attempts without an answer, at most \d+\.\d+ USD$/)],
  })
})

test('the same figures as a file agree too, and a doctored one is told by account, model, day and amount', async () => {
  const csv = await (await fetch(`${sim.url}/invoice?format=csv`)).text()
  writeFileSync(join(folder, 'theirs.csv'), csv)
  expect((await headgate('--csv', 'theirs.csv', ...maps)).code).toBe(0)

  const row = csv.split('\r\n').find(line => line.includes(labelOf('up-second')))!
  const [day, label, model, requests, input, cached, output, cost] = row.split(',')
  const doctored = [day, label, model, Number(requests) + 2, Number(input) + 100, cached, output, cost].join(',')
  writeFileSync(join(folder, 'theirs.csv'), csv.replace(row, doctored))
  const { code, lines } = await linesOf('--csv', 'theirs.csv', ...maps)
  expect(code).toBe(1)
  expect(Object.values(lines).filter(line => line['verdict'] === 'unexplained')).toEqual([lines['second']])
  expect(lines['second']).toMatchObject({
    ...{ day, account: 'second', model: 'sim', difference: { requests: 2, inputTokens: 100, outputTokens: 0, cost: '0.00' } },
    causes: ['unexplained: 2 requests that we never saw'],
  })
  const { out, err } = await headgate('--csv', 'theirs.csv', ...maps)
  expect(out).toMatch(/second +sim .* unexplained +unexplained: 2 requests that we never saw\n/)
  expect(err).toBe('1 line is unexplained.\n')
})

test('a day that they do not have is a gap, and an account that they do not cover is said to be none', async () => {
  writeFileSync(join(folder, 'empty.csv'), 'day,model,input_tokens,output_tokens\n')
  const { code, out, err } = await headgate('--csv', 'empty.csv', '--account', 'second')
  expect({ code, err }).toEqual({ code: 1, err: '1 line is unexplained.\n' })
  expect(out).toContain('unexplained: 1 call of ours that they do not count')
  expect(out).toContain('Not compared: failing, healthy, silent, of which the figures say nothing')
})

test('a price that is not theirs is told as one', async () => {
  const csv = await (await fetch(`${sim.url}/invoice?format=csv`)).text()
  const [titles] = csv.split('\r\n')
  const row = csv.split('\r\n').find(line => line.includes(labelOf('up-second')))!
  writeFileSync(join(folder, 'dear.csv'), `${titles}\r\n${row.replace(/[^,]+$/, '1.5')}`)
  const { code, lines } = await linesOf('--csv', 'dear.csv', '--account', 'second')
  expect(code).toBe(1)
  expect(lines['second']).toMatchObject({
    causes: [expect.stringMatching(/^unexplained: the same tokens at another price, 1\.\d+ USD apart/)],
  })
})
