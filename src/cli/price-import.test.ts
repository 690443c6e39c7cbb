import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { getRequestListener } from '@hono/node-server'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { type AdminBed, openAdminBed, startMs, token } from '../admin/admin.fixture.ts'
import { litellmFile } from '../directory/price-import/price-import.fixture.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { said } from './terminal.fixture.ts'

/** Prices from elsewhere are a proposal: shown as a difference, and made only when a person says so. */
let bed: AdminBed
let server: Server
let cwd: string

beforeAll(async () => {
  bed = await openAdminBed(openSqlite)
  cwd = mkdtempSync(join(tmpdir(), 'headgate-import-'))
  server = createServer(getRequestListener(request => bed.fetch(request)))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  writeFileSync(join(cwd, 'prices.json'), litellmFile)
})
afterEach(() => bed.empty())
afterAll(async () => {
  server.closeAllConnections()
  server.close()
  rmSync(cwd, { recursive: true })
  await bed[Symbol.asyncDispose]()
})

function headgate(line: string) {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return said(line.split(' '), { env: { HEADGATE_URL: url, HEADGATE_ADMIN_TOKEN: token }, cwd, nowMs: startMs })
}

async function done(line: string): Promise<string> {
  const { code, out, err } = await headgate(line)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  return out
}

const held = async (query = '') => (await bed.ask(200, 'GET', `/prices?limit=500${query}`)).items
const seenIn = (out: string) => /--seen ([0-9a-f]{16}) --accept all/.exec(out)![1]!

test('the public prices are proposed to a book, accepted, and then nothing is left to propose', async () => {
  const shown = await done('price import public')
  expect(shown).toMatch(/^new +gpt-5\.5 +default +272000 +now +input 10\.00, cached 1\.00, output 45\.00$/m)
  expect(shown).toMatch(/^new +gpt-6\.2-sol +ultrafast +0 +2027-03-01T00:00:00\.000Z +input 12\.00, cached 0\.60, output 60\.00$/m)
  expect(shown).toContain('138 lines would change, 0 stay; nothing was done.')
  expect(await held()).toEqual([])
  expect(await done(`price import public --accept all --seen ${seenIn(shown)}`)).toBe(
    '136 lines of the price book are changed; calls that began before keep their price.\n',
  )
  expect(await held()).toHaveLength(138)
  expect(await done('price import public')).toMatch(
    /^The price book says all of it already\.\n\n0 lines would change, 138 stay; nothing was done\.\n$/,
  )
})

test('a difference says what was and what would be; what the file does not say stays', async () => {
  const mine = {
    model: 'm-long',
    input: '1.00',
    cached: '0.125',
    cacheWrite: '1.5625',
    cacheWrite12h: '3.125',
    output: '10',
    fileSearch: '0.003',
  }
  await bed.ask(200, 'POST', '/prices', { ...mine, aliases: ['m-long-latest'], source: 'me' })
  const shown = await done('price import litellm prices.json')
  expect(shown).toMatch(/^changed +m-long +default +0 +now +input: 1\.00 → 1\.25, webSearch: – → 0\.01, maxOutput: – → 64000$/m)
  expect(shown).toContain('Left out: m-embeds, because its mode is embedding.')
  expect(shown).toContain('Note: What is written to the cache for 12 hours')
  await done('price import litellm prices.json --accept m-long')
  const [first, ...others] = await held('&model=m-long')
  expect(first).toMatchObject({ input: '1.25', fileSearch: '0.003', aliases: ['m-long-latest'] })
  expect(first!['source']).toBe('a LiteLLM price file, imported 2026-10-01')
  expect(others).toHaveLength(5)
  expect(await held('&model=m-plain')).toEqual([])
  expect(await held('&model=m-long&all=true')).toHaveLength(7)
})

test('what was seen is what is accepted, or nothing', async () => {
  const shown = await done('price import litellm prices.json')
  await bed.ask(200, 'POST', '/prices', { model: 'something', input: '1', output: '1' })
  const before = await held()
  const { code, err } = await headgate(`price import litellm prices.json --accept all --seen ${seenIn(shown)}`)
  expect([code, err]).toEqual([
    1,
    expect.stringContaining('The price book has changed since this was proposed; look at the proposal again.'),
  ])
  expect(await held()).toEqual(before)
  const again = await done('price import litellm prices.json')
  expect(seenIn(again)).not.toBe(seenIn(shown))
  await done(`price import litellm prices.json --accept all --seen ${seenIn(again)}`)
})

test('a file that says something else than the one that was seen is refused', async () => {
  const shown = await done('price import litellm prices.json')
  writeFileSync(join(cwd, 'other.json'), litellmFile.replace('1.25e-06', '1.26e-06'))
  const { code } = await headgate(`price import litellm other.json --accept all --seen ${seenIn(shown)}`)
  expect([code, await held()]).toEqual([1, []])
})

test('a name that another model has is not taken', async () => {
  await bed.ask(200, 'POST', '/prices', { model: 'mine', input: '1', output: '1', aliases: ['m-plain'] })
  const shown = await done('price import litellm prices.json')
  expect(shown).toMatch(/^refused +m-plain +default +0 +now +.*which is an alias of mine; a name can have only one price\.$/m)
  expect((await headgate('price import litellm prices.json --accept m-plain')).code).toBe(2)
  await done('price import litellm prices.json --accept all')
  expect(await held('&model=m-plain')).toEqual([])
  expect(await held('&model=m-long')).toHaveLength(6)
})

test('the folder of an installed package is read, and what begins later is planned', async () => {
  const folder = dirname(dirname(fileURLToPath(import.meta.resolve('@pydantic/genai-prices'))))
  const shown = await done(`price import genai-prices ${folder}`)
  expect(shown).toMatch(/^new +gpt-5\.4-mini +default +0 +now +input 0\.75, cached 0\.075, output 4\.50$/m)
  expect(shown).toContain('long rates begin above 271,999 tokens there')
  writeFileSync(join(cwd, 'dated.json'), JSON.stringify([{ id: 'openai', models: [{ id: 'm', prices: dated }] }]))
  await done('price import genai-prices dated.json --accept all')
  expect(await held()).toMatchObject([
    { input: '1.00', effectiveTo: '2026-12-01T00:00:00.000Z' },
    { input: '3.00', effectiveFrom: '2026-12-01T00:00:00.000Z', effectiveTo: null },
  ])
})

const dated = [
  { prices: { input_mtok: 1, output_mtok: 2 } },
  { constraint: { type: 'start_date', start_date: '2026-12-01' }, prices: { input_mtok: 3, output_mtok: 4 } },
]

test.each([
  ['price import elsewhere', 'There are no prices "elsewhere"; it takes public, genai-prices or litellm.'],
  ['price import litellm', 'Say which file: headgate price import litellm FILE'],
  ['price import litellm nowhere.json', 'nowhere.json cannot be read: there is no such file.'],
  ['price import genai-prices prices.json', 'prices.json is no price file: there is no list of providers in it.'],
  ['price import litellm large.json', 'large.json is larger than 16 MiB; no price file is.'],
  ['price import litellm prices.json --accept m-none', 'models[0] is "m-none", of which nothing is proposed.'],
])('%s: %s', async (line, sentence) => {
  writeFileSync(join(cwd, 'large.json'), '')
  truncateSync(join(cwd, 'large.json'), 16 * 1024 * 1024 + 1)
  const { code, err } = await headgate(line)
  expect([code, err]).toEqual([2, expect.stringContaining(sentence)])
})
